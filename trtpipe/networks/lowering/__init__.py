"""A network as TensorRT's parser made it, lowered to ONNX again, so that ONNX Runtime can run it.

    network.py     a whole network; what could not be read, and what is cut for it
    subgraphs.py   which layers stand in which loop or conditional, and an order in which they can be computed
    loops.py, conditionals.py
                   a loop as ONNX's Loop, a conditional as its If
    table.py       how a layer of each type is read: as a declared layer, or as nodes
    declared.py    layers that a declared layer stands for, which `layers/` lowers
    elements.py, windows.py, shapes.py, slices.py, combinations.py, quantization.py, attention.py
                   the others, as ONNX nodes
    scope.py       what reading a layer sees: its attributes, its tensors, the nodes that it makes
    emission.py    all layers into a graph
    graph.py       the graph in the making
    checks.py      where TensorRT says otherwise of a tensor than the lowered network makes it
    result.py      what comes of it

What a layer computes is what TensorRT's documentation says of its type and attributes, not what an ONNX operator of
that name would: that is what the comparison is for. Where the documentation is silent,
`docs/internals/networks.md` says what was chosen.
"""
