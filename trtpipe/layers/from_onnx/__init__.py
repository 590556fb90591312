"""The reverse of lowering: converts ONNX models to declared layers and weights.

The layers' own meaning is defined by the lowering functions beside this package.
"""
