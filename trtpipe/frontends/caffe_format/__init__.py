"""What the `caffe` frontend is made of: the two file formats, the net they describe, and each layer's ONNX form."""
