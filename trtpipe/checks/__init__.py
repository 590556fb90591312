"""`check`, and what other jobs begin with: a checked spec, a proved cell, one cell's steps brought up to date.

Belongs here: what runs or makes something to prove a spec. Proofs that need only data are in `proofs/`.
"""
