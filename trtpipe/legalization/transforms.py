"""Applies a spec's `transform` to a canonical model: simplify, bind inputs, cut at outputs, set shapes, graft.

Each step is followed by constant folding, because a bound input may decide a branch, and a fixed shape may make more
values constant. Independent of specs; names that are not in the model are returned as problems.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.canonical import duplicates
from trtpipe.canonical.edits import remove_unused, uses
from trtpipe.canonical.evaluation import Evaluator
from trtpipe.canonical.folding import infer_values
from trtpipe.canonical.summary import TensorInfo, tensor_info
from trtpipe.canonical.tensors import number_of_dtype
from trtpipe.errors import ModelError, Problem, SpecPath
from trtpipe.legalization.legalize import Changes, finish, flatten, settle, simplify_operators
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    import onnx

    from trtpipe.arrays import Array
    from trtpipe.json_values import Json


Graft = Callable[["onnx.ModelProto"], None]
"""Changes a model in place."""


@dataclass(frozen=True, slots=True)
class Transform:
    """What to change in a model, in the order in which it is done."""

    simplify: bool = False
    bind: Mapping[str, Json] = field(default_factory=dict)
    """Inputs that get a constant value: a number, or nested lists."""
    outputs: Sequence[str] = ()
    """The values to keep as the only outputs."""
    set_shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """New dims of inputs, -1 for dynamic ones."""
    graft: Graft | None = None
    """Puts nodes into what is then left, a valid model with one name a value."""


def apply_transform(model: onnx.ModelProto, evaluator: Evaluator, asked: Transform) -> Changes:
    """Transforms a model in place; the result is canonical again. Raises ModelError with every problem."""
    bind, outputs, set_shapes, graft = asked.bind, list(asked.outputs), asked.set_shapes, asked.graft
    _refuse_unknown(model, bind, outputs, set_shapes)
    changes = Changes()
    flatten(model, changes)
    if asked.simplify:
        _simplify(model, evaluator, changes)
    if bind:
        _bind(model, bind)
        changes.add("inputs bound", len(bind))
        settle(model, evaluator, changes)
    if outputs:
        _cut(model, outputs, changes)
    if set_shapes:
        _set_shapes(model, set_shapes)
        changes.add("input shapes set", len(set_shapes))
    if bind or set_shapes:
        _forget_output_shapes(model)
    if graft:
        settle(model, evaluator, changes)
        graft(model)
        _forget_output_shapes(model)
        changes.add("grafts", 1)
        flatten(model, changes)
    settle(model, evaluator, changes)
    simplify_operators(model, evaluator, changes)
    finish(model, changes)
    return changes


def outline_transform(
    model: onnx.ModelProto,
    *,
    outputs: Sequence[str],
    set_shapes: Mapping[str, Sequence[int]],
    graft: Graft,
) -> None:
    """Transforms a model in place without evaluating anything, for proofs about a grafted model.

    Bound inputs stay inputs. Raises ModelError.
    """
    changes = Changes()
    flatten(model, changes)
    _refuse_unknown(model, {}, outputs, set_shapes)
    if outputs:
        _cut(model, outputs, changes)
    if set_shapes:
        _set_shapes(model, set_shapes)
    _forget_output_shapes(model)
    graft(model)
    _forget_output_shapes(model)
    finish(model, changes)


def transform_file(
    source: Path,
    out: Path,
    asked: Transform,
) -> tuple[list[Path], Changes]:
    """Transforms the canonical model in `source` into `out`; the files written, and what changed.

    Raises ModelError.
    """
    import tempfile

    from trtpipe.canonical.reader import read_skeleton
    from trtpipe.canonical.writer import write_model

    model = read_skeleton(source).proto
    with (
        tempfile.TemporaryDirectory(prefix=".transform-", dir=out.parent) as workplace,
        Evaluator(Path(workplace)) as evaluator,
    ):
        changes = apply_transform(model, evaluator, asked)
        return write_model(model, out), changes


def _simplify(model: onnx.ModelProto, evaluator: Evaluator, changes: Changes) -> None:
    settle(model, evaluator, changes)
    while True:
        idle = changes.add("idle nodes removed", duplicates.remove_idle(model))
        merged = changes.add("duplicates merged", duplicates.merge_duplicates(model))
        if not idle and not merged:
            break
        settle(model, evaluator, changes)


def _refuse_unknown(
    model: onnx.ModelProto, bind: Collection[str], outputs: Sequence[str], set_shapes: Collection[str]
) -> None:
    inputs = [value.name for value in model.graph.input]
    made = [name for node in model.graph.node for name in node.output if name]
    problems = _unknown("input", bind, inputs, ("bind",)) + _unknown(
        "input", set_shapes, inputs, ("set_shapes",)
    )
    problems += _unknown("value", outputs, made, ("outputs",))
    for name in set(bind) & set(set_shapes):
        problems.append(
            Problem(
                Code.KEYS_EXCLUDE,
                f"input '{name}' is bound to a constant, so its shape cannot be set",
                path=("set_shapes", name),
            )
        )
    if problems:
        raise ModelError(problems)


def _unknown(kind: str, names: Iterable[str], valid: Sequence[str], path: SpecPath) -> list[Problem]:
    known = set(valid)
    problems = []
    for index, name in enumerate(names):
        if name in known:
            continue
        near = difflib.get_close_matches(name, valid, n=3, cutoff=0.5)
        shown = near or (valid if len(valid) <= 12 else [*valid[-6:]])
        remedy = ("did you mean " if near else "there are ") + ", ".join(f"'{item}'" for item in shown)
        where = (*path, index) if path == ("outputs",) else (*path, name)
        problems.append(
            Problem(
                Code.UNKNOWN_INPUT if kind == "input" else Code.UNKNOWN_TENSOR,
                f"the model has no {kind} '{name}'",
                remedy,
                path=where,
            )
        )
    return problems


def _bind(model: onnx.ModelProto, bind: Mapping[str, Json]) -> None:
    import onnx

    problems = []
    for index in reversed(range(len(model.graph.input))):
        value = model.graph.input[index]
        if value.name not in bind:
            continue
        try:
            array = _array(tensor_info(value), bind[value.name])
        except ValueError as error:
            problems.append(
                Problem(
                    Code.CANNOT_BIND,
                    f"input '{value.name}' cannot be bound: {error}",
                    path=("bind", value.name),
                )
            )
            continue
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, value.name))
        del model.graph.input[index]
    if problems:
        raise ModelError(problems)


def _array(info: TensorInfo, value: Json) -> Array:
    """The value in the input's dtype and rank. Raises ValueError when it does not fit."""
    import numpy as np
    import onnx

    number = number_of_dtype(info.dtype)
    if not number or info.dtype == "string":
        raise ValueError(f"it is of type {info.dtype}")
    given = np.asarray(value)
    if given.dtype == object or given.dtype.kind in "US":
        raise ValueError("the value is not a number or a regular list of numbers")
    array = given.astype(onnx.helper.tensor_dtype_to_np_dtype(number))
    if given.dtype.kind in "iuf" and array.dtype.kind in "iu" and not np.array_equal(array, given):
        raise ValueError(f"{value} does not fit {info.dtype}")
    dims = info.dims
    if dims is None:
        return array
    if array.ndim != len(dims) and array.size == 1:
        array = array.reshape((1,) * len(dims))
    fits = array.ndim == len(dims) and all(
        not isinstance(dim, int) or dim == size for dim, size in zip(dims, array.shape, strict=True)
    )
    if not fits:
        raise ValueError(f"it has dims {list(dims)}, the value {list(array.shape)}")
    return array


def _cut(model: onnx.ModelProto, outputs: Sequence[str], changes: Changes) -> None:
    """Makes `outputs` the only outputs; inputs that nothing reads any more are removed too."""
    import onnx

    declared = {value.name: value for value in model.graph.output}
    known = infer_values(model)
    before = uses(model)
    values = []
    for name in dict.fromkeys(outputs):
        info = known.get(name)
        if name in declared:
            values.append(declared[name])
        elif info is None or not number_of_dtype(info.dtype):
            raise ModelError(
                Code.OUTPUT_TYPE_UNKNOWN, f"the type of '{name}' is not known, so it cannot become an output"
            )
        else:
            dims = None if info.dims is None else [dim if isinstance(dim, int) else None for dim in info.dims]
            values.append(onnx.helper.make_tensor_value_info(name, number_of_dtype(info.dtype), dims))
    kept = onnx.GraphProto(output=values)
    model.graph.ClearField("output")
    model.graph.output.extend(kept.output)
    changes.add("unused removed", remove_unused(model))
    after = uses(model)
    for index in reversed(range(len(model.graph.input))):
        name = model.graph.input[index].name
        if before[name] and not after[name]:
            changes.notes.append(f"input '{name}' is not needed for these outputs")
            del model.graph.input[index]


def _set_shapes(model: onnx.ModelProto, set_shapes: Mapping[str, Sequence[int]]) -> None:
    problems = []
    for value in model.graph.input:
        shape = set_shapes.get(value.name)
        if shape is None:
            continue
        tensor = value.type.tensor_type
        old = [dim.dim_param for dim in tensor.shape.dim]
        if tensor.HasField("shape") and len(old) != len(shape):
            fact = f"input '{value.name}' has {len(old)} dims, but {len(shape)} are set"
            problems.append(Problem(Code.SET_SHAPES_MISFIT, fact, path=("set_shapes", value.name)))
            continue
        tensor.ClearField("shape")
        tensor.shape.SetInParent()
        for axis, size in enumerate(shape):
            if size >= 0:
                tensor.shape.dim.add(dim_value=size)
            else:
                tensor.shape.dim.add(dim_param=(old[axis] if old else "") or f"{value.name}_{axis}")
    if problems:
        raise ModelError(problems)


def _forget_output_shapes(model: onnx.ModelProto) -> None:
    """Removes the outputs' declared shapes, which hold for the old inputs; `finish` infers them again."""
    for value in model.graph.output:
        if value.type.WhichOneof("value") == "tensor_type":
            value.type.tensor_type.ClearField("shape")
