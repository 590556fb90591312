"""Engines that exist, used: `run` and `bench`, on a GPU or by the typed model on the CPU."""
