"""Parts of the `caffe` frontend: the two file formats, the net that they describe, and the ONNX form of each layer."""
