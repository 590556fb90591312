"""The network that TensorRT's parser made of a model, as data: what TensorRT would build from, without TensorRT.

    network.py     what a network is: layers, tensors, loops, conditionals
    reader.py      parsed.json as such a network, nothing in it trusted
    contents.py    parsed.weights, mapped: kernels, biases and constants as arrays
    warnings.py    what TensorRT warned of meanwhile, by name, harmless or dangerous

The worker's action `parse` writes both files (`toolchains/network_reading.py` describes them). Nothing here knows what
a kind of layer computes.
"""
