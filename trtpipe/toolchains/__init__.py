"""Toolchains: which TensorRT there is on this machine, its installation, and the worker that holds it.

Belongs here: everything that knows TensorRT's API or its files. No other room imports TensorRT.
"""
