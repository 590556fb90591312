"""What can be proved of a spec and its model before anything is built.

Data to data: specs, model skeletons and facts about GPUs in, Problems out. Nothing here builds or runs;
`nonfinite_weights` alone reads weights.
"""
