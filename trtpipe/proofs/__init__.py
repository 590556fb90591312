"""Static checks of a spec and its model: everything that can be proved before anything is built.

Pure functions that take specs, model skeletons and facts about GPUs and return Problems. Nothing here builds or runs;
`nonfinite_weights` alone reads weights.
"""
