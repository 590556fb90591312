"""The job of reporting a build: what was delivered is gathered and its pages are put into place.

Belongs here: reading what lies beside engines. The pages themselves are made in `reports/`.
"""
