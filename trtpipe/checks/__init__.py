"""`check`, and what other commands begin with: a checked spec, a proved cell, one cell's steps brought up to date.

This room contains proofs of specs that need to run or make something. Proofs from data alone are in `proofs/`.
"""
