"""Delivering a cell: judging its measurements, then putting its engine and the files beside it into `build/`.

How the results are made is in `building/`.
"""
