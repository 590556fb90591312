"""Moving cells to another TensorRT version: built beside the old ones, and both compared.

Which versions exist is decided in `toolchains/`.
"""
