"""Raises a parsed network to declared layers: the equivalent spec with `parser: network`.

    network.py     a whole network; which layers are rejected
    layers.py      the declared layer for each type, if some of its inputs must be constant
    slices.py, quantization.py, normalization.py
                   longer ones of the same kind
    constants.py   tensors that depend on constants alone, as arrays
    writer.py      a declared layer as a spec writes it: defaults left out, weights by name

Most types are mapped by `lowering/declared.py`, whose fields are reused. Every layer is then lowered by itself, as a
build would lower it, so that one without an ONNX form is reported with its reason. Loops, conditionals and attention
layers are never raised.
"""
