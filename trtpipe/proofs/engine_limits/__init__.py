"""What TensorRT-RTX's parser or builder rejects in a typed model, predicted without running them.

    values.py      access to a typed model for the rules: types, shapes and constants
    tensors.py     element types of inputs, outputs and weights, and those that operators do not support
    operands.py    operands that must be constants, or constants with a certain value
    forms.py       attributes that an operator does not support
    sizes.py       ranks, windows and numbers beyond a layer's limits
    older_versions.py  what only older versions reject
    driverless.py  what older versions cannot build on a machine without an NVIDIA driver
    proof.py       all of it for one model and one version, as problems that name the user's nodes

The rules apply to models after import and casting; operators that import expands no longer occur here. They were
derived from one half of ONNX's backend suite and scored on the other (`tests/conformance/score_check.py`).
"""
