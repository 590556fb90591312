"""Using engines that exist: `run` and `bench`, on a GPU or with the typed model on the CPU.

Validating engines is in `prove/`.
"""
