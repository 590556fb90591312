"""Looking at what exists: `inspect`, `diff` and `which`, for files, cells and engines.

This room finds and opens what a user names. The descriptions are made in `inspection/`.
"""
