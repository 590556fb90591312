"""Toolchains: finding and installing TensorRT on this machine, and the worker process that uses it.

Belongs here: everything that knows TensorRT's API or its files. No other room imports TensorRT.
"""
