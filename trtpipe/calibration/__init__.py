"""Calibration: quantization scales, measured by a calibrator or taken from another tool's calibration cache.

scales.py       the artifact: a readable file of scales
calibrators/    from a model and samples to scales, one module for each backend
caches/         calibration caches that other tools left behind, read and matched with a model
"""
