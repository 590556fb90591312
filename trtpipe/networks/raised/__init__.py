"""Raises a parsed network to declared layers: the equivalent spec with `parser: network`.

    network.py     a whole network; what is refused, layer by layer
    layers.py      which declared layer stands for a type, where its inputs must be constant for it
    slices.py, quantization.py, normalization.py
                   the longer ones of them
    constants.py   tensors that depend on constants alone, as arrays
    writer.py      a declared layer as a spec writes it: defaults left out, weights by name

Most types are mapped by `lowering/declared.py`, whose fields are reused. Every layer is then lowered by itself, as a
build would lower it, so that one without an ONNX form is reported with its reason. Loops, conditionals and attention
layers are never raised.
"""
