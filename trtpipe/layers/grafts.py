"""Grafts declared layers onto an existing model: in front of an input, or after some of its tensors.

The model is changed in place. The new layers' weights refer to files, which must outlive the model. Of the spec, only
the graft itself is used; paths of problems are relative to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.canonical.builder import GraphBuilder
from trtpipe.canonical.edits import remove_unused, rename_reads, sort_nodes, uses
from trtpipe.canonical.folding import infer_values
from trtpipe.canonical.opsets import opset_of, upgrade
from trtpipe.canonical.tensors import number_of_dtype
from trtpipe.errors import ModelError, Problem, SpecPath
from trtpipe.layers.lowering import Lowering
from trtpipe.layers.parameters import Parameters, open_parameters
from trtpipe.layers.table import least_opset
from trtpipe.layers.values import Value, declared_dims, dtype_of, may_equal, shape_text
from trtpipe.loader.grammar import choose_from
from trtpipe.problem_codes import Code
from trtpipe.spec.network.fields import Declared, weights_of
from trtpipe.spec.network.network import GraftSpec, Prepended

if TYPE_CHECKING:
    import onnx


def graft(
    model: onnx.ModelProto, spec: GraftSpec, files: Mapping[str, Path], *, root: Path | None, workplace: Path
) -> None:
    """Puts the layers of `spec` into the model. `files` are the weights' files from `weight_files`.

    Raises ModelError with every problem, each at its place in the graft: ("append", 0, "axes").
    """
    named = isinstance(spec.weights, dict)
    parameters = open_parameters(files, named=named, root=root, workplace=workplace, place=("weights",))
    _raise_opset(model, spec)
    problems: list[Problem] = []
    for number, (name, one) in enumerate(spec.prepend.items()):
        problems += _prepend(model, name, one, parameters, _folder(workplace, f"prepend-{number}"))
    if not problems and spec.append:
        problems += _append(model, spec, parameters, _folder(workplace, "append"))
    problems += _unused(spec, parameters)
    if not problems and spec.outputs:
        problems += _choose_outputs(model, spec.outputs)
    if problems:
        raise ModelError(problems)


def _folder(workplace: Path, name: str) -> Path:
    made = workplace / name
    made.mkdir()
    return made


def _layers(spec: GraftSpec) -> list[Declared]:
    return [*(layer for one in spec.prepend.values() for layer in one.layers), *spec.append]


def _unused(spec: GraftSpec, parameters: Parameters) -> list[Problem]:
    for layer in _layers(spec):
        for _, name in weights_of(layer):
            parameters.use(name)
    return list(parameters.unused(spec.ignore_weights, ("weights",)))


def _raise_opset(model: onnx.ModelProto, spec: GraftSpec) -> None:
    """Converts the model to the opset that the layers need. Raises ModelError when that fails."""
    needed, has = least_opset(_layers(spec)), opset_of(model)
    if has >= needed:
        return
    _declare_outputs(model)
    note = upgrade(model, oldest=needed, chosen=needed)
    if opset_of(model) < needed:
        most = max(_layers(spec), key=lambda layer: least_opset([layer]))
        fact = f"layer '{most.name}' ({most.kind}) needs opset {needed}, but the model has {has}: {note}"
        raise ModelError(Code.OPSET_TOO_OLD, fact, "export the model with a newer opset")


def _declare_outputs(model: onnx.ModelProto) -> None:
    """Gives outputs their inferred dims before the opset conversion, which would otherwise seem to change them."""
    import onnx

    known = infer_values(model)
    for output in model.graph.output:
        info = known.get(output.name)
        if info is not None and number_of_dtype(info.dtype):
            made = onnx.helper.make_tensor_value_info(output.name, number_of_dtype(info.dtype), info.dims)
            output.CopyFrom(made)


def _values(model: onnx.ModelProto) -> dict[str, Value | None]:
    """Every tensor of the model, with its type and dims as far as known."""
    known = infer_values(model)
    names = [value.name for value in model.graph.input]
    names += [name for node in model.graph.node for name in node.output if name]
    return {
        name: Value(name, known[name].dtype, known[name].dims)
        if name in known
        else Value(name, "undefined", None)
        for name in names
    }


def _prepend(
    model: onnx.ModelProto, name: str, one: Prepended, parameters: Parameters, workplace: Path
) -> list[Problem]:
    """Puts layers in front of an input, which is replaced by another one."""
    place: SpecPath = ("prepend", name)
    inputs = [value.name for value in model.graph.input]
    called, values = one.name or name, _values(model)
    if name not in inputs:
        fact = f"the model has no input '{name}' to insert layers before"
        return [Problem(Code.UNKNOWN_INPUT, fact, choose_from(name, inputs, "inputs"), path=place)]
    old = values.pop(name)
    assert old is not None
    if called in values:
        fact = f"the model already has a tensor '{called}'"
        return [Problem(Code.TENSOR_NAME_TAKEN, fact, "give the input another name", path=place)]
    new = Value(called, dtype_of(one.dtype), declared_dims(called, one.shape))
    taken = {*values, name, *(tensor.name for tensor in model.graph.initializer)}
    lowering = _lowering(model, parameters, {called: new}, taken, workplace)
    lowering.problems += _clashes(one, called, taken, (*place, "layers"))
    lowering.run(one.layers, (*place, "layers"), called)
    result = lowering.values.get(one.layers[-1].output_names[0])
    if lowering.problems or result is None:
        return lowering.problems
    unlike = _unlike(result, old)
    if unlike:
        fact = f"the layers before '{name}' yield {unlike}, but the model reads {old.dtype} {old.text}"
        remedy = "add a last layer that yields that type and shape"
        return [Problem(Code.GRAFT_MISFIT, fact, remedy, path=(*place, "layers"))]
    rename_reads(model, {name: result.name})
    declared = lowering.builder.input(called, new.dtype, new.dims or ())
    assert declared == called
    model.graph.input[inputs.index(name)].CopyFrom(lowering.builder.graph.input[0])
    _splice(model, lowering.builder)
    return []


def _clashes(one: Prepended, called: str, taken: set[str], place: SpecPath) -> Iterator[Problem]:
    """Layers with an output name that the model already has."""
    for layer in one.layers:
        clash = [output for output in layer.output_names if output in taken - {called} or output == called]
        if clash:
            fact = f"layer '{layer.name}' ({layer.kind}) yields '{clash[0]}', which the model has too"
            yield Problem(Code.TENSOR_NAME_TAKEN, fact, "give the layer another name", path=place)


def _unlike(result: Value, old: Value) -> str:
    """A description of a tensor that cannot replace another one; empty if it can."""
    dims, wanted = result.dims, old.dims
    alike = dims is None or wanted is None
    if dims is not None and wanted is not None:
        alike = len(dims) == len(wanted) and all(map(may_equal, dims, wanted))
    return "" if alike and result.dtype == old.dtype else f"{result.dtype} {shape_text(dims)}"


def _append(
    model: onnx.ModelProto, spec: GraftSpec, parameters: Parameters, workplace: Path
) -> list[Problem]:
    """Puts layers after tensors; the first reads the model's only output unless it names its input."""
    values = _values(model)
    taken = {*values, *(tensor.name for tensor in model.graph.initializer)}
    lowering = _lowering(model, parameters, values, taken, workplace)
    outputs = [value.name for value in model.graph.output]
    lowering.run(spec.append, ("append",), outputs[0] if len(outputs) == 1 else None)
    if not lowering.problems:
        _splice(model, lowering.builder)
    return lowering.problems


def _lowering(
    model: onnx.ModelProto,
    parameters: Parameters,
    values: Mapping[str, Value | None],
    taken: set[str],
    workplace: Path,
) -> Lowering:
    opset = opset_of(model)
    builder = GraphBuilder("graft", workplace, opset=opset)
    for name in taken:
        builder.unique(name)
    return Lowering(builder, opset, parameters, dict(values))


def _splice(model: onnx.ModelProto, builder: GraphBuilder) -> None:
    """Inserts what the builder has created into the model."""
    made = builder.model()
    graph = model.graph
    graph.initializer.extend(made.graph.initializer)
    graph.value_info.extend(made.graph.value_info)
    graph.node.extend(made.graph.node)
    known = {item.domain for item in model.opset_import}
    model.opset_import.extend(item for item in made.opset_import if item.domain not in known and item.domain)
    sort_nodes(model)


def _choose_outputs(model: onnx.ModelProto, outputs: Mapping[str, str]) -> list[Problem]:
    """Makes these tensors the model's only outputs; inputs that nothing reads any more are removed too."""
    import onnx

    values = _values(model)
    problems = []
    made = []
    before = uses(model)
    for index, (name, tensor) in enumerate(outputs.items()):
        place: SpecPath = ("outputs", index if name == tensor else name)
        value = values.get(tensor)
        if value is None:
            remedy = choose_from(tensor, values, "tensors")
            problems.append(
                Problem(
                    Code.UNKNOWN_TENSOR, f"output '{tensor}' is not a tensor of the model", remedy, path=place
                )
            )
            continue
        if name != tensor and name in values:
            fact = f"output '{name}' has the name of another tensor"
            problems.append(Problem(Code.TENSOR_NAME_TAKEN, fact, "give it another name", path=place))
            continue
        if name != tensor:
            node = onnx.helper.make_node("Identity", [tensor], [name], name=f"{name}/output")
            model.graph.node.append(node)
        dims = None if value.dims is None else [dim if isinstance(dim, int) else None for dim in value.dims]
        kept = replace(value, name=name)
        made.append(onnx.helper.make_tensor_value_info(kept.name, number_of_dtype(kept.dtype), dims))
    if problems:
        return problems
    model.graph.ClearField("output")
    model.graph.output.extend(made)
    remove_unused(model)
    _drop_unread(model, before, uses(model))
    return []


def _drop_unread(model: onnx.ModelProto, before: Mapping[str, int], after: Mapping[str, int]) -> None:
    for index in reversed(range(len(model.graph.input))):
        name = model.graph.input[index].name
        if before[name] and not after[name]:
            del model.graph.input[index]


def placed(problems: Sequence[Problem], place: SpecPath) -> list[Problem]:
    """Problems of a graft, at its place in the spec."""
    return [replace(problem, path=(*place, *problem.path)) for problem in problems]
