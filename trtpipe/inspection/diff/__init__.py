"""What changed between two models, two engines or two lockfiles. Data to data: nothing here builds, runs or writes.

Every difference has an old and a new side, so that the difference of B and A is that of A and B turned round.
"""
