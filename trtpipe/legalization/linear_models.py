"""Rewrites operators of scikit-learn's converter (`ai.onnx.ml`) that are linear algebra as standard ones.

Trees, nearest neighbours and support vectors stay, and so do operators with strings; `check` reports them by name.
Operators that ONNX Runtime computes in double precision stay as well, since TensorRT has no double.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import attribute_of, integer_of, integers_of
from trtpipe.canonical.tensors import number_of_dtype
from trtpipe.legalization.runtime_operators.parts import cast, reduced, since, text_of, unsqueezed

if TYPE_CHECKING:
    import onnx

    from trtpipe.arrays import Array
    from trtpipe.legalization.rewrites import Rewriting, Rule

_DOMAIN = "ai.onnx.ml"
_OPSET = 13
"""The first in which axes are inputs of Unsqueeze and of ReduceSum, as the rules write them."""
_NUMBERS = ("float32", "int32", "int64")


def _floats(work: Rewriting, value: str) -> str | None:
    """A tensor in float32; None if its type is unknown, or is one in which ONNX Runtime computes directly."""
    dtype = work.types.dtype(value)
    if dtype not in _NUMBERS:
        return None
    return value if dtype == "float32" else cast(work, value, number_of_dtype("float32"))


def _numbers_of(node: onnx.NodeProto, name: str) -> Array:
    """An attribute that is a list of real numbers; empty when it is absent."""
    import numpy as np

    found = attribute_of(node, name)
    return np.asarray(found if isinstance(found, list) else [], np.float32)


def _of_features(work: Rewriting, value: str, *given: Array) -> bool:
    """Whether there is one number for all features, or one for each feature of a row."""
    return all(one.size == 1 or (work.types.rank(value) in (1, 2) and one.size) for one in given)


def _scaler(work: Rewriting, node: onnx.NodeProto) -> bool:
    """(x - offset) scale."""
    value = _floats(work, node.input[0])
    offset, scale = _numbers_of(node, "offset"), _numbers_of(node, "scale")
    if value is None or not _of_features(work, value, offset, scale):
        return False
    moved = work.add("Sub", [value, work.array(offset, "offset")])
    work.add("Mul", [moved, work.array(scale, "scale")], node.output[0], name=node.name)
    return True


def _imputer(work: Rewriting, node: onnx.NodeProto) -> bool:
    """Replaces the values that mark missing data, which may be NaN."""
    import math

    import numpy as np

    value, instead = node.input[0], _numbers_of(node, "imputed_value_floats")
    if work.types.dtype(value) != "float32" or not _of_features(work, value, instead):
        return False
    replaced = attribute_of(node, "replaced_value_float")
    number = replaced if isinstance(replaced, float) else 0.0
    if math.isnan(number):
        missing = work.add("IsNaN", [value])
    else:
        missing = work.add("Equal", [value, work.array(np.asarray(number, np.float32), "missing")])
    work.add("Where", [missing, work.array(instead, "instead"), value], node.output[0], name=node.name)
    return True


def _binarizer(work: Rewriting, node: onnx.NodeProto) -> bool:
    """1 for values above the threshold, else 0."""
    value, threshold = node.input[0], attribute_of(node, "threshold")
    if work.types.dtype(value) != "float32":
        return False
    limit = work.number(threshold if isinstance(threshold, float) else 0.0, value)
    more = work.add("Greater", [value, limit], name=node.name)
    cast(work, more, number_of_dtype("float32"), node.output[0])
    return True


def _normalizer(work: Rewriting, node: onnx.NodeProto) -> bool:
    """Rows divided by their norm; rows with norm 0 are unchanged."""
    value, norm = _floats(work, node.input[0]), text_of(node, "norm", "MAX")
    if value is None or work.types.rank(value) != 2 or norm not in ("MAX", "L1", "L2"):
        return False
    if norm == "MAX":
        size = reduced(work, "ReduceMax", value, [-1])
    elif norm == "L1":
        size = reduced(work, "ReduceSum", work.add("Abs", [value]), [-1])
    else:
        size = work.add("Sqrt", [reduced(work, "ReduceSum", work.add("Mul", [value, value]), [-1])])
    none = work.add("Equal", [size, work.number(0, value)])
    divisor = work.add("Where", [none, work.number(1, value), size])
    work.add("Div", [value, divisor], node.output[0], name=node.name)
    return True


_TRANSFORMS: Mapping[str, Callable[[Rewriting, str, str], object]] = {
    "NONE": lambda work, value, output: work.add("Identity", [value], output),
    "LOGISTIC": lambda work, value, output: work.add("Sigmoid", [value], output),
    "SOFTMAX": lambda work, value, output: work.add("Softmax", [value], output, axis=-1),
}
"""What is done to scores at the end. The others (SOFTMAX_ZERO, PROBIT) are rare."""


def _product(work: Rewriting, node: onnx.NodeProto, classes: int) -> str | None:
    """x W^T + b of a row for each class or target."""
    value, weights = _floats(work, node.input[0]), _numbers_of(node, "coefficients")
    bias = _numbers_of(node, "intercepts")
    wrong = classes < 1 or not weights.size or weights.size % classes or bias.size not in (0, classes)
    if value is None or work.types.rank(value) != 2 or wrong:
        return None
    columns = work.array(weights.reshape(classes, -1).T.copy(), "coefficients")
    made = work.add("MatMul", [value, columns], name=node.name)
    return work.add("Add", [made, work.array(bias, "intercepts")]) if bias.size else made


def _regressor(work: Rewriting, node: onnx.NodeProto) -> bool:
    transform = _TRANSFORMS.get(text_of(node, "post_transform", "NONE"))
    made = _product(work, node, integer_of(node, "targets", 1)) if transform is not None else None
    if transform is None or made is None:
        return False
    transform(work, made, node.output[0])
    return True


def _classifier(work: Rewriting, node: onnx.NodeProto) -> bool:
    """Scores of two or more classes, and the integer label of the best one."""
    labels = integers_of(node, "classlabels_ints")
    transform = _TRANSFORMS.get(text_of(node, "post_transform", "NONE"))
    several = len(labels) > 1 and _numbers_of(node, "intercepts").size == len(labels)
    made = _product(work, node, len(labels)) if transform is not None and several else None
    if transform is None or made is None:
        return False
    names = [*node.output, "", ""]
    if names[0]:
        best = work.add("ArgMax", [made], axis=-1, keepdims=0)
        work.add("Gather", [work.constant(labels, "labels"), best], names[0])
    if names[1]:
        transform(work, made, names[1])
    return True


def _extractor(work: Rewriting, node: onnx.NodeProto) -> bool:
    """The columns with these indices."""
    value, indices = node.input[0], node.input[1]
    if (work.types.rank(value) or 0) < 2 or work.types.dtype(value) not in _NUMBERS:
        return False
    flat = work.add("Reshape", [indices, work.constant([-1])])
    work.add("Gather", [value, flat], node.output[0], name=node.name, axis=-1)
    return True


def _one_hot(work: Rewriting, node: onnx.NodeProto) -> bool:
    """Whether an integer equals each of the categories, along a new last axis."""
    value, categories = node.input[0], integers_of(node, "cats_int64s")
    rank = work.types.rank(value)
    if not categories or rank is None or work.types.dtype(value) not in ("int32", "int64"):
        return False
    whole = cast(work, value, number_of_dtype("int64")) if work.types.dtype(value) == "int32" else value
    same = work.add(
        "Equal", [unsqueezed(work, whole, -1), work.constant(categories, "categories")], name=node.name
    )
    cast(work, same, number_of_dtype("float32"), node.output[0])
    return True


LINEAR: Mapping[tuple[str, str], Rule] = {
    (_DOMAIN, "ArrayFeatureExtractor"): since(_OPSET, _extractor),
    (_DOMAIN, "Binarizer"): since(_OPSET, _binarizer),
    (_DOMAIN, "Imputer"): since(_OPSET, _imputer),
    (_DOMAIN, "LinearClassifier"): since(_OPSET, _classifier),
    (_DOMAIN, "LinearRegressor"): since(_OPSET, _regressor),
    (_DOMAIN, "Normalizer"): since(_OPSET, _normalizer),
    (_DOMAIN, "OneHotEncoder"): since(_OPSET, _one_hot),
    (_DOMAIN, "Scaler"): since(_OPSET, _scaler),
}
"""Domain and operator \u2192 the rule that writes it out."""
