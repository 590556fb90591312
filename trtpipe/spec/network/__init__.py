"""The declared network: one model for each TensorRT layer, with TensorRT's own names for layers and attributes.

fields.py      tensors, weights and dims as a spec writes them; the layer itself
spatial.py     convolution, deconvolution, pooling, fully_connected, padding, lrn, resize, grid_sample
pointwise.py   activation, parametric_relu, scale, elementwise, unary, cast, select, identity
shape_layers.py     shuffle, squeeze, unsqueeze, flatten, concatenation, slice, gather, scatter, one_hot, constant, …
reductions.py    reduce, softmax, topk, cumulative, matrix_multiply, einsum, normalization, attention, nms
recurrent.py   rnn, gru, lstm
quantization.py  quantize, dequantize
plugin.py      plugin
network.py     the union of all layers; a whole network; a graft
"""
