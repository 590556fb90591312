"""Declared layers to ONNX, each with its shapes inferred, so that an error names the layer and both shapes.

    lowering.py    a list of layers into a graph; what each of them yields
    network.py     a whole declared network; `describe_layers`
    grafts.py      layers before and behind a model that is there
    table.py       which function lowers which layer
    spatial.py, pointwise.py, shapes.py, slices.py, reductions.py, recurrent.py, quantization.py, plugin.py
                   those functions
    index_slices.py
                   a slice that ONNX's Slice does not say
    scope.py       what such a function sees: its inputs, its weights, the nodes that it makes
    parameters.py  weights by name: found, checked, counted
    inference.py   the shapes and types of a few nodes
    values.py      a tensor's name, type and dims

Knows the layers' models and ONNX; knows no YAML and no frontend.
"""
