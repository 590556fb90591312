"""The network that TensorRT's parser created from a model, as data that can be read without TensorRT.

    network.py     what a network is: layers, tensors, loops, conditionals
    reader.py      reads parsed.json into a network, as untrusted input
    contents.py    parsed.weights, mapped: kernels, biases and constants as arrays
    warnings.py    TensorRT's warnings by name, harmless or dangerous

The worker's action `parse` writes both files (`toolchains/engine_worker/network_reading.py` describes them). What a
layer type computes is defined in `lowering/`.
"""
