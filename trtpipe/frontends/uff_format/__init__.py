"""Reads UFF, the format of TensorRT's former TensorFlow converter, and converts it to ONNX. Independent of specs."""
