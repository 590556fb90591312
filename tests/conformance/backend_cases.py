"""The cases of ONNX's own backend suite, each with its model, its data sets and its tolerances."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx.backend.test import loader

KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator", "real")
_PARAMETER_NAMES = """axes axis shape repeats pads value constant_value k K depth values sizes scales roi split starts
ends steps min max ratio r training_mode t block_shape image_shape size window_length dft_length frame_step frame_length
start limit delta x_scale x_zero_point y_scale y_zero_point a_scale a_zero_point b_scale b_zero_point w_scale
w_zero_point output_shape trip_count cond max_output_boxes_per_class iou_threshold score_threshold fft_length
num_mel_bins sample_rate lower_edge_hertz upper_edge_hertz target_shape target_size crop_shape theta_size
length shift position_ids exponent"""
PARAMETERS = frozenset(_PARAMETER_NAMES.split())
"""Inputs that say how to compute, as ONNX's operators name them; never the data itself."""

_SMALL = 64  # elements; a parameter is never larger


@dataclass(frozen=True)
class Case:
    """One model with the data that the suite gives for it; `inputs` may hold lists and None beside arrays."""

    name: str
    kind: str
    model: bytes
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    rtol: float
    atol: float

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The inputs that are plain tensors."""
        return {name: value for name, value in self.inputs.items() if isinstance(value, np.ndarray)}


def parameters(case: Case) -> dict[str, np.ndarray]:
    """The inputs that a user would bind as constants."""
    first = next(iter(case.arrays), "")
    found = {n: a for n, a in case.arrays.items() if n.lower() in PARAMETERS | {"k"} and a.size <= _SMALL}
    return {
        n: a for n, a in found.items() if n != first or len(case.arrays) == 1 or n in ("min", "max", "start")
    }


def bound(case: Case) -> Case:
    """The case with its parameters as constants of the model."""
    values = parameters(case)
    model = onnx.load_model_from_string(case.model)
    kept = [value for value in model.graph.input if value.name not in values]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(array, name) for name, array in values.items()
    )
    left = {name: value for name, value in case.inputs.items() if name not in values}
    return replace(case, model=model.SerializeToString(), inputs=left)


def dynamic(case: Case) -> Case:
    """The case with no size of an input known before it runs; parameters become constants, for most must be."""
    made = bound(case)
    model = onnx.load_model_from_string(made.model)
    for value in _fed(model):
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            dim.dim_param = f"{value.name}_{axis}"
    for value in (*model.graph.output, *model.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            dim.Clear()
    return replace(made, model=model.SerializeToString())


def store_cases(folder: Path, change: Callable[[Case], Case] = lambda case: case) -> list[str]:
    """Writes every case into `folder`, one file each, so that workers load only theirs; their names, in order."""
    names = []
    for case in map(change, all_cases()):
        (folder / f"{case.name}.case").write_bytes(pickle.dumps(case))
        names.append(case.name)
    return names


def load_case(folder: Path, name: str) -> Case:
    """The stored case `name`."""
    case: Case = pickle.loads((folder / f"{name}.case").read_bytes())
    return case


def all_cases() -> Iterator[Case]:
    """Every case of every kind; names made unique by the kind where two share one."""
    seen: set[str] = set()
    for kind in KINDS:
        for item in loader.load_model_tests(kind=kind):
            name = item.name if item.name not in seen else f"{item.name}_{kind}"
            seen.add(name)
            yield _case(name, kind, item)


def _case(name: str, kind: str, item: Any) -> Case:
    if item.model is not None:
        model, inputs, outputs = item.model, *item.data_sets[0]
        return Case(name, kind, model.SerializeToString(), _named(model.graph.input, inputs, model),
                    _named(model.graph.output, outputs, model), item.rtol, item.atol)  # fmt: skip
    if kind == "real":
        return _light(name, item)
    folder = Path(item.model_dir)
    model = onnx.load(folder / "model.onnx")
    data = folder / "test_data_set_0"
    inputs = [
        _read(data / f"input_{i}.pb", v.type) for i, v in enumerate(_fed(model)) if _exists(data, "input", i)
    ]
    outputs = [_read(data / f"output_{i}.pb", v.type) for i, v in enumerate(model.graph.output)]
    return Case(name, kind, (folder / "model.onnx").read_bytes(), _named(_fed(model), inputs, model),
                _named(model.graph.output, outputs, model), item.rtol, item.atol)  # fmt: skip


def _light(name: str, item: Any) -> Case:
    """The zoo's models with their weights made small; they are fed the same ones as the suite's runner feeds."""
    file = Path(onnx.__file__).parent / Path(item.url).relative_to("onnx")
    model = onnx.load(file)
    fed = _fed(model)
    rng = np.random.default_rng(0)
    inputs = {
        v.name: rng.random([d.dim_value for d in v.type.tensor_type.shape.dim], np.float32) for v in fed
    }
    return Case(name, "real", file.read_bytes(), inputs, {}, item.rtol, item.atol)


def _fed(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    given = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in given]


def _exists(folder: Path, what: str, index: int) -> bool:
    return (folder / f"{what}_{index}.pb").exists()


def _named(
    values: Sequence[onnx.ValueInfoProto], data: Sequence[Any], model: onnx.ModelProto
) -> dict[str, Any]:
    given = {tensor.name for tensor in model.graph.initializer}
    names = [value.name for value in values if value.name not in given or len(values) == len(data)]
    return dict(zip(names, (_plain(item) for item in data), strict=False))


def _plain(item: Any) -> Any:
    if isinstance(item, onnx.TensorProto):
        return onnx.numpy_helper.to_array(item)
    return np.asarray(item) if isinstance(item, (np.generic, int, float, bool)) else item


def _read(path: Path, kind: onnx.TypeProto) -> Any:
    encoded = path.read_bytes()
    if kind.HasField("sequence_type"):
        return onnx.numpy_helper.to_list(onnx.SequenceProto.FromString(encoded))
    if kind.HasField("optional_type"):
        return onnx.numpy_helper.to_optional(onnx.OptionalProto.FromString(encoded))
    return onnx.numpy_helper.to_array(onnx.TensorProto.FromString(encoded))
