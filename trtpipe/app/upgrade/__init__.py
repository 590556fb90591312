"""The job of moving cells to another TensorRT version: built beside the old ones, and both compared.

Does not belong here: which version that may be, which is in `toolchains/`.
"""
