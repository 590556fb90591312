"""Delivering a cell: its proofs are judged, then its engine and what belongs to it are put into `build/`.

Belongs here: the verdict on a cell and the files beside an engine. How the results come about is in `building/`.
"""
