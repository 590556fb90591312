"""What TensorRT-RTX's parser or builder refuses of a typed model, known without asking them.

    values.py      a typed model as the rules see it: types, shapes and constants of its values
    tensors.py     element types: of inputs, outputs and weights, and those that operators do not take
    operands.py    operands that must be constants, or constants of a certain value
    forms.py       attributes that an operator does not take
    sizes.py       ranks, windows and numbers beyond what a layer takes
    older_versions.py  what only older versions do not take
    driverless.py  what older versions do not build on a machine without an NVIDIA driver
    proof.py       all of it for one model and one version, as problems that name the user's nodes

The rules speak of models as importing and casting leave them: what is written out there is no longer here. They were
learnt from one half of ONNX's backend suite and scored on the other (`tests/conformance/score_check.py`).
"""
