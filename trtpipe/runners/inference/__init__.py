"""Runs engines on a GPU: the parent's side. What runs in the toolchain's interpreter is `engine_process`."""
