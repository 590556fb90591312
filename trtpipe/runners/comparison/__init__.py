"""Compares models tensor by tensor: with the model they were typed from, and with the network that TensorRT parsed.

Measurements that decide whether a cell passes, but for the readback, belong to validation.
"""
