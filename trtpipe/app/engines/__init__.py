"""The job of using engines that exist: `run` and `bench`, on a GPU or by the typed model on the CPU.

Does not belong here: proving engines, which is in `prove/`.
"""
