"""The process that holds TensorRT: its program, what it is asked, how it is started, and what its answers mean.

Finding and installing TensorRT does not belong here; only `worker.py` and `network_reading.py` run in that process.
"""
