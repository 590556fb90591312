"""Toolchains: finding and installing TensorRT on this machine, and the worker process that uses it.

Everything that knows TensorRT's API or its files belongs here: no other room imports TensorRT. Running engines
belongs to `runners`.
"""
