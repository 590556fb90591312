"""Calibration caches that other tools left behind, and how their names find the tensors of a model.

Data to data: what a cache says is read without trusting the file, matched with the names of a model, and becomes our
own scales; what cannot be used is told by name. Knows no stage and no command; imports neither onnx nor numpy, and asks
nothing of a graph but its names.
"""
