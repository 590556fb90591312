"""Renames tensors, and removes debugging information that converters write into a model.

Works on a model without its weights. Independent of the converter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from trtpipe.errors import ModelError, Problem, SpecPath
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    import onnx


def strip_notes(model: onnx.ModelProto) -> None:
    """Removes documentation and metadata (stack traces, fx nodes), and shapes of inner tensors, which are inferred."""
    model.doc_string = ""
    model.ClearField("metadata_props")
    for graph in _graphs(model):
        graph.doc_string = ""
        for items in (graph.node, graph.initializer, graph.input, graph.output):
            for item in items:
                item.doc_string = ""
                if hasattr(item, "metadata_props"):
                    item.ClearField("metadata_props")
        graph.ClearField("metadata_props")
        graph.ClearField("value_info")


def rename_interface(
    model: onnx.ModelProto, inputs: Sequence[str], outputs: Sequence[str], path: SpecPath
) -> None:
    """Gives inputs and outputs these names, in order; without names they are unchanged.

    Raises ModelError, at `path` + `inputs` or `outputs`, when the numbers differ or a name occurs twice.
    """
    graph = model.graph
    problems = [
        *_misfits("inputs", inputs, [value.name for value in graph.input], path),
        *_misfits("outputs", outputs, [value.name for value in graph.output], path),
    ]
    both = sorted(set(inputs) & set(outputs))
    problems += [
        Problem(Code.OUTPUT_IS_INPUT, f"{name!r} is an input and an output", path=(*path, "outputs"))
        for name in both
    ]
    if problems:
        raise ModelError(problems)
    _part_outputs_from_inputs(model)
    wanted = dict(zip((value.name for value in graph.input), inputs, strict=False))
    wanted |= dict(zip((value.name for value in graph.output), outputs, strict=False))
    rename_tensors(model, wanted)


def rename_tensors(model: onnx.ModelProto, names: Mapping[str, str]) -> None:
    """Renames tensors everywhere; another tensor that already has a new name is renamed as well."""
    from trtpipe.canonical.names import fresh

    taken = set(_tensor_names(model)) | set(names.values())
    moved = {old: new for old, new in names.items() if old != new}
    for new in set(moved.values()) - set(moved):
        if new in _tensor_names(model):
            moved[new] = fresh(new, taken)
    for graph in _graphs(model):
        for value in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
            value.name = moved.get(value.name, value.name)
        for node in graph.node:
            node.input[:] = [moved.get(name, name) for name in node.input]
            node.output[:] = [moved.get(name, name) for name in node.output]


def _misfits(key: str, given: Sequence[str], found: Sequence[str], path: SpecPath) -> Iterator[Problem]:
    if given and len(given) != len(found):
        fact = f"{len(given)} names for {len(found)} {key}"
        yield Problem(
            Code.INTERFACE_NAMES, fact, f"the model's {key} are: {', '.join(found)}", path=(*path, key)
        )
    for name in sorted({name for name in given if list(given).count(name) > 1}):
        yield Problem(
            Code.LISTED_TWICE, f"{name!r} stands twice in {key!r}", "names must differ", path=(*path, key)
        )


def _part_outputs_from_inputs(model: onnx.ModelProto) -> None:
    """Gives an output that is also an input, a weight or another output a tensor of its own."""
    import onnx

    from trtpipe.canonical.names import fresh

    graph = model.graph
    taken = set(_tensor_names(model))
    used = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    for value in graph.output:
        if value.name in used:
            own = fresh(f"{value.name}/output", taken)
            graph.node.append(onnx.helper.make_node("Identity", [value.name], [own], name=own))
            value.name = own
        used.add(value.name)


def _tensor_names(model: onnx.ModelProto) -> set[str]:
    names: set[str] = set()
    for graph in _graphs(model):
        names |= {value.name for value in (*graph.input, *graph.initializer)}
        names |= {name for node in graph.node for name in node.output if name}
    return names


def _graphs(model: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    from trtpipe.canonical.edits import subgraphs

    waiting = [model.graph]
    while waiting:
        graph = waiting.pop()
        yield graph
        waiting += [inner for node in graph.node for inner in subgraphs(node)]
