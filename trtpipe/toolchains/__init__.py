"""Toolchains: finding and installing TensorRT on this machine, and the worker process that uses it.

Everything that knows TensorRT's API or its files belongs here: no other room imports TensorRT. What an engine computes does
not: running engines belongs to `runners`.
"""
