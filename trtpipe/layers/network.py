"""Lowers a whole declared network (inputs, weights, layers and outputs) to an ONNX model; and describes its layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.canonical.builder import GraphBuilder
from trtpipe.errors import ModelError, Problem, SpecPath
from trtpipe.files import temporary_folder
from trtpipe.layers.lowering import LayerSummary, Lowering
from trtpipe.layers.parameters import open_parameters
from trtpipe.layers.table import least_opset
from trtpipe.layers.values import Value, declared_dims, dtype_of, too_large
from trtpipe.loader.grammar import choose_from
from trtpipe.problem_codes import Code
from trtpipe.spec.network.network import NetworkOptions

if TYPE_CHECKING:
    import onnx

PLACE: SpecPath = ("model", "options")
"""Where a network stands in a spec."""


@dataclass(frozen=True, slots=True)
class Lowered:
    """A declared network as ONNX, and the summary of each layer."""

    model: onnx.ModelProto
    layers: tuple[LayerSummary, ...]


def weight_files(named: Mapping[str, Path], prefix: str = "weights") -> dict[str, Path]:
    """The weights among the files that options name: keyed by their name or index there, '' for a single file."""
    inside = {key: path for key, path in named.items() if key == prefix or key.startswith(f"{prefix}.")}
    return {key[len(prefix) + 1 :]: path for key, path in inside.items()}


def lower_network(
    options: NetworkOptions, files: Mapping[str, Path], *, root: Path | None, workplace: Path
) -> Lowered:
    """The network as an ONNX model, whose weights refer to `files` or to files in `workplace`.

    `files` are the weights' files from `weight_files`. Raises ModelError with every problem.
    """
    named = isinstance(options.weights, dict)
    parameters = open_parameters(
        files, named=named, root=root, workplace=workplace, place=(*PLACE, "weights")
    )
    opset = least_opset(options.layers, (one.dtype for one in options.inputs.values()))
    builder = GraphBuilder("main", workplace, opset=opset)
    values: dict[str, Value | None] = {}
    for name, one in options.inputs.items():
        value = Value(name, dtype_of(one.dtype), declared_dims(name, one.shape))
        assert value.dims is not None
        if too_large(value.dims):
            place = (*PLACE, "inputs", name, "shape")
            remedy = "TensorRT supports less than 2^31 elements"
            raise ModelError(
                Problem(Code.LAYER_REFUSED, f"input '{name}' is {value.text}", remedy, path=place)
            )
        values[name] = value
        builder.input(name, value.dtype, value.dims)
    lowering = Lowering(builder, opset, parameters, values)
    first = next(iter(values)) if len(values) == 1 else None
    lowering.run(options.layers, (*PLACE, "layers"), first)
    problems = lowering.problems + _outputs(options, lowering)
    problems += parameters.unused(options.ignore_weights, (*PLACE, "weights"))
    if problems:
        raise ModelError(problems)
    return Lowered(builder.model(), tuple(lowering.summaries))


def _outputs(options: NetworkOptions, lowering: Lowering) -> list[Problem]:
    """Declares the outputs; returns their problems."""
    problems = []
    for index, (name, tensor) in enumerate(options.outputs.items()):
        place = (*PLACE, "outputs", index if name == tensor else name)
        if tensor not in lowering.values:
            remedy = choose_from(tensor, lowering.values, "tensors")
            problems.append(
                Problem(
                    Code.UNKNOWN_TENSOR,
                    f"output '{tensor}' is not a tensor of the network",
                    remedy,
                    path=place,
                )
            )
            continue
        value = lowering.values[tensor]
        if value is None:
            continue  # the problem of its layer has been reported already
        if tensor in options.inputs and name == tensor:
            problems.append(
                Problem(
                    Code.OUTPUT_IS_INPUT,
                    f"output '{tensor}' is an input",
                    "insert an identity layer between them",
                    path=place,
                )
            )
        elif name != tensor and name in lowering.values:
            problems.append(
                Problem(
                    Code.TENSOR_NAME_TAKEN,
                    f"output '{name}' has the name of another tensor",
                    "give it another name",
                    path=place,
                )
            )
        else:
            lowering.builder.output(tensor, name, dtype=value.dtype, dims=value.dims)
    return problems


def describe_layers(
    options: NetworkOptions, files: Mapping[str, Path], *, root: Path | None
) -> tuple[LayerSummary, ...]:
    """The outputs of each layer (names, data types, dims), and how many weights it holds. Raises ModelError."""
    with temporary_folder("layers") as workplace:
        return lower_network(options, files, root=root, workplace=Path(workplace)).layers
