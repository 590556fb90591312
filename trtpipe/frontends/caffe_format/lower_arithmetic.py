"""Layers that combine values: element-wise, with learned factors, and as sums over axes."""

from __future__ import annotations

from collections.abc import Sequence

from trtpipe.canonical.builder import Dim
from trtpipe.frontends.caffe_format.layer import Dims, Layer, Lowering, Tensor, shown
from trtpipe.frontends.caffe_format.lower_shapes import merged
from trtpipe.frontends.caffe_format.params import Params
from trtpipe.frontends.caffe_format.reshape import Part, reshape


def _eltwise(layer: Layer) -> Tensor:
    """The product, the sum (each bottom by its coeff) or the maximum of two or more bottoms."""
    layer.expect_inputs(2, 10**6)
    params = layer.params("eltwise_param")
    operation = params.choice("operation", "SUM", ("PROD", "SUM", "MAX"))
    coeffs = params.numbers("coeff")
    dims = merged(layer, [layer.dims(index) for index in range(len(layer.inputs))])
    if coeffs and (operation != "SUM" or len(coeffs) != len(layer.inputs)):
        raise params.refuse("coeff", f"{len(layer.inputs)} bottoms of a SUM need as many coeffs, or none")
    terms: list[Tensor] = list(layer.inputs)
    for index, coeff in enumerate(coeffs):
        if coeff != 1.0:
            factor = layer.constant(coeff, f"coeff_{index}")
            terms[index] = layer.node("Mul", [terms[index], factor], f"term_{index}")
    operator = {"PROD": "Mul", "SUM": "Add", "MAX": "Max"}[operation]
    made = terms[0]
    for index, term in enumerate(terms[1:], 1):
        made = layer.node(operator, [made, term], "" if index == len(terms) - 1 else f"first_{index + 1}")
    return made.shaped(dims)


def _scale(layer: Layer) -> Tensor:
    """x * factor (+ bias), both learned, or the factor a second bottom; spread from `axis` on."""
    return _spread(layer, layer.params("scale_param"), "Mul", "scale", biased=True)


def _bias(layer: Layer) -> Tensor:
    """x + bias, learned or a second bottom; spread from `axis` on."""
    return _spread(layer, layer.params("bias_param"), "Add", "bias", biased=False)


def _spread(layer: Layer, params: Params, operator: str, part: str, *, biased: bool) -> Tensor:
    layer.expect_inputs(1, 2)
    x, dims = layer.inputs[0], layer.dims(0)
    first = layer.axis(params.integer("axis", 1), len(dims))
    covered: Dims
    other: Tensor | str
    if len(layer.inputs) == 2:
        params.ignore("num_axes")
        other, covered = _second(layer, dims, first)
    else:
        learned = _covered(layer, params, dims, first)
        other = layer.weight(0, learned or [1], part, as_dims=_behind(dims, first, learned))
        covered = tuple(learned)
    has_bias = biased and params.flag("bias_term", False)
    made = layer.node(operator, [x, other], "scaled" if has_bias else "").shaped(dims)
    if not has_bias:
        return made
    fixed = [layer.fixed(covered, axis, axis + 1, "a bias") for axis in range(len(covered))]
    index = 2 - len(layer.inputs)
    bias = layer.weight(index, fixed or [1], "bias", as_dims=_behind(dims, first, fixed))
    return layer.node("Add", [made, bias]).shaped(dims)


def _covered(layer: Layer, params: Params, dims: Dims, first: int) -> list[int]:
    """The sizes of the axes that a learned factor covers."""
    count = params.integer("num_axes", 1, least=-1)
    end = len(dims) if count == -1 else first + count
    if end > len(dims):
        raise params.refuse("num_axes", f"axes {first} to {end - 1} are more than its bottom's {len(dims)}")
    return [layer.fixed(dims, axis, axis + 1, "a learned factor") for axis in range(first, end)]


def _behind(dims: Dims, first: int, covered: Sequence[int]) -> list[int]:
    """Dims followed by ones, so that they align with axis `first`."""
    return [*covered, *[1] * (len(dims) - first - len(covered))]


def _second(layer: Layer, dims: Dims, first: int) -> tuple[Tensor, Dims]:
    """The second bottom, followed by axes of size 1."""
    other, covered = layer.inputs[1], layer.dims(1)
    missing = len(dims) - first - len(covered)
    if missing < 0:
        raise layer.refuse(f"{shown(covered)} does not fit into {shown(dims)} from axis {first} on")
    merged(layer, [dims[first : first + len(covered)], covered])
    if missing and covered:
        axes = layer.constant(list(range(len(covered), len(covered) + missing)), "axes")
        other = layer.node("Unsqueeze", [other, axes], "spread")
    return other, covered


def _inner_product(layer: Layer) -> Tensor:
    """x, flattened from `axis` on, times the weights: [outputs, inputs], or [inputs, outputs] if transposed."""
    x, dims, params = layer.only_input(), layer.dims(), layer.params("inner_product_param")
    axis = layer.axis(params.integer("axis", 1), len(dims))
    outputs = params.integer("num_output", 0, least=1)
    if not outputs:
        raise layer.refuse("it has no num_output")
    transposed = params.flag("transpose", False)
    into = layer.fixed(dims, axis, len(dims), "an inner product")
    weights = layer.weight(0, [into, outputs] if transposed else [outputs, into], "weights")
    bias = layer.weight(1, [outputs], "bias") if params.flag("bias_term", True) else None
    made: list[Dim] = [*dims[:axis], outputs]
    if axis == 1:
        flat = x if len(dims) == 2 else layer.node("Flatten", [x], "flat", axis=1)
        inputs: list[Tensor | str] = [flat, weights, *([bias] if bias else [])]
        return layer.node("Gemm", inputs, transB=0 if transposed else 1).shaped(made)
    lead: list[Part] = [(one,) for one in range(axis)]
    flat = reshape(layer, x, [*(lead or [1]), into], "flat")
    turned = weights if transposed else layer.node("Transpose", [weights], "turned", perm=[1, 0])
    product = layer.node("MatMul", [flat, turned], "product" if bias or not lead else "")
    if bias:
        product = layer.node("Add", [product, bias], "" if lead else "biased")
    if not lead:
        product = layer.node("Reshape", [product, layer.constant([outputs], "shape")])
    return product.shaped(made)


def _embed(layer: Layer) -> Tensor:
    """For each value, the row of the weights with that index."""
    x, dims, params = layer.only_input(), layer.dims(), layer.params("embed_param")
    outputs, rows = params.integer("num_output", 0, least=1), params.integer("input_dim", 0, least=1)
    if not outputs or not rows:
        raise layer.refuse("it needs num_output and input_dim")
    weights = layer.weight(0, [rows, outputs], "weights")
    biased = params.flag("bias_term", True)
    index = layer.node("Cast", [x], "index", to=7)
    made = layer.node("Gather", [weights, index], "rows" if biased else "", axis=0)
    if biased:
        made = layer.node("Add", [made, layer.weight(1, [outputs], "bias")])
    return made.shaped([*dims, outputs])


def _reduction(layer: Layer) -> Tensor:
    """coeff * the sum, sum of magnitudes, sum of squares or mean over the axes from `axis` on."""
    x, dims, params = layer.only_input(), layer.dims(), layer.params("reduction_param")
    axis = layer.axis(params.integer("axis", 0), len(dims))
    operation = params.choice("operation", "SUM", ("SUM", "ASUM", "SUMSQ", "MEAN"), first=1)
    coeff = params.number("coeff", 1.0)
    axes = list(range(axis, len(dims)))
    part = "reduced" if coeff != 1.0 else ""
    if operation == "SUM":
        made = layer.node("ReduceSum", [x, layer.constant(axes, "axes")], part, keepdims=0)
    else:
        operator = {"ASUM": "ReduceL1", "SUMSQ": "ReduceSumSquare", "MEAN": "ReduceMean"}[operation]
        made = layer.node(operator, [x], part, axes=axes, keepdims=0)
    if coeff != 1.0:
        made = layer.node("Mul", [made, layer.constant(coeff, "coeff")])
    return made.shaped(dims[:axis])


def _softmax(layer: Layer) -> Tensor:
    x, dims = layer.only_input(), layer.dims()
    axis = layer.axis(layer.params("softmax_param").integer("axis", 1), len(dims))
    return layer.node("Softmax", [x], axis=axis).shaped(dims)


def _arg_max(layer: Layer) -> Tensor:
    """The positions of the largest values as numbers, with or instead of them (argmax_layer.cpp).

    Of equal values the first counts; Caffe takes the last.
    """
    x, dims, params = layer.only_input(), layer.dims(), layer.params("argmax_param")
    top, values = params.integer("top_k", 1, least=1), params.flag("out_max_val", False)
    count = layer.constant([top], "top_k")
    if "axis" in params:
        axis = layer.axis(params.integer("axis", 0), len(dims))
        _check_top(layer, top, dims[axis])
        best, index = layer.nodes("TopK", [x, count], 2, "top", axis=axis, largest=1, sorted=1)
        made = best if values else layer.node("Cast", [index], to=1)
        return made.shaped([*dims[:axis], top, *dims[axis + 1 :]])
    flat = x if len(dims) == 2 else layer.node("Flatten", [x], "flat", axis=1)
    into = 1
    for dim in dims[1:]:
        into = into * dim if isinstance(dim, int) else 0
    _check_top(layer, top, into or None)
    best, index = layer.nodes("TopK", [flat, count], 2, "top", axis=1, largest=1, sorted=1)
    found = [layer.node("Cast", [index], "numbers", to=1), *([best] if values else [])]
    axes = layer.constant([1], "axes")
    rows = [layer.node("Unsqueeze", [one, axes], f"row_{number}") for number, one in enumerate(found)]
    made = layer.node("Concat", rows, axis=1) if len(rows) > 1 else rows[0]
    behind = [1] * (len(dims) - 3)
    if behind:
        shape = layer.constant([0, len(rows), top, *behind], "shape")
        made = layer.node("Reshape", [made, shape], "shaped")
    return made.shaped([dims[0], len(rows), top, *behind])


def _check_top(layer: Layer, top: int, size: Dim) -> None:
    if isinstance(size, int) and top > size:
        raise layer.refuse(f"top_k of {top} is more than the {size} values that there are")


LOWERINGS: dict[str, Lowering] = {
    "ArgMax": _arg_max,
    "Bias": _bias,
    "Eltwise": _eltwise,
    "Embed": _embed,
    "InnerProduct": _inner_product,
    "Reduction": _reduction,
    "Scale": _scale,
    "Softmax": _softmax,
}
