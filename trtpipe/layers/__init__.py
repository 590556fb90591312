"""Lowers declared layers to ONNX. Each layer's shapes are inferred, so that an error names the layer and both shapes.

    lowering.py    lowers a list of layers into a graph
    network.py     a whole declared network; `describe_layers`
    grafts.py      layers before or after an existing model
    table.py       which function lowers which layer
    spatial.py, pointwise.py, shapes.py, slices.py, reductions.py, recurrent.py, quantization.py, plugin.py
                   those functions
    index_slices.py
                   slices that ONNX's Slice cannot express
    scope.py       the interface of these functions: inputs, weights, the nodes that they create
    parameters.py  weights by name: found, checked, counted
    inference.py   the shapes and types of a few nodes
    values.py      a tensor's name, type and dims

Depends on the layers' models and on ONNX; independent of YAML and frontends.
"""
