"""Reads UFF, the format of TensorRT's former TensorFlow converter, and writes it out as ONNX. Knows no specs."""
