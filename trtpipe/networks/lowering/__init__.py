"""Lowers a network that TensorRT's parser created back to ONNX, so that ONNX Runtime can run it.

    network.py     a whole network; its unreadable layers, and what is cut because of them
    subgraphs.py   which layers are in which loop or conditional, and an order in which they can be computed
    loops.py, conditionals.py
                   a loop as ONNX's Loop, a conditional as its If
    table.py       how a layer of each type is read: as a declared layer, or as nodes
    declared.py    layers with an equivalent declared layer, which `layers/` lowers
    elements.py, windows.py, shapes.py, slices.py, combinations.py, quantization.py, attention.py
                   the others, as ONNX nodes
    scope.py       the interface of layer readers: attributes, tensors, the nodes that they create
    emission.py    adds all layers to a graph
    graph.py       the graph under construction
    checks.py      tensors on which TensorRT and the lowered network disagree
    result.py      the result: the model and everything that is missing from it

A layer is read as TensorRT's documentation defines its type and attributes, not as an ONNX operator of the same name
would be, because the comparison is to find such differences. Where the documentation is silent,
`docs/internals/networks.md` says what was chosen.
"""
