"""A network as TensorRT's parser made it, raised to declared layers: what a spec of `parser: network` would say.

    network.py     a whole network; what is refused, layer by layer
    layers.py      which declared layer stands for a type, where its inputs must be constant for it
    slices.py, quantization.py, normalization.py
                   the longer ones of them
    constants.py   tensors that hang on constants alone, as arrays
    writer.py      a declared layer as a spec writes it: defaults left out, weights by name

Most types are declared by `lowering/declared.py`, whose fields are taken over. Every layer is lowered alone, as a
build would lower it, so that what has no ONNX form is told of the layer, with its reason. Loops, conditionals and
attentions are never raised.
"""
