"""Runs models in ONNX Runtime on the CPU, with stand-ins for the kernels that it lacks or has wrong.

What is compared with what, and how far results may differ, does not belong here.
"""
