"""Compares two models, two engines or two lockfiles. Pure functions: nothing here builds, runs or writes.

Every difference has an old and a new side, so comparing B with A gives the reverse of comparing A with B.
"""
