"""The job of looking at what there is: `inspect`, `diff` and `which`, for files, cells and engines.

Belongs here: finding and opening what a user names. What is then said of it is made in `inspection/`.
"""
