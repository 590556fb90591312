"""A small interpreter of Triton's ensembles: steps run in ONNX Runtime, tensors are passed on by their names.

It checks what Triton checks before it serves an ensemble (its `ValidateEnsembleConfig`), and each request's shapes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from tests.packages.triton.model_config import parsed, type_name

NUMPY = {"TYPE_FP32": np.float32, "TYPE_FP16": np.float16, "TYPE_INT64": np.int64, "TYPE_INT32": np.int32}


class Repository:
    """The models of a repository's directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.configs = {
            path.parent.name: parsed(path.read_text()) for path in sorted(folder.glob("*/config.pbtxt"))
        }
        assert {path.name for path in folder.iterdir()} == set(self.configs), (
            "Triton takes every folder for a model"
        )
        for name, config in self.configs.items():
            assert config.name == name
            assert any(path.name.isdecimal() for path in (folder / name).iterdir() if path.is_dir())

    def infer(self, name: str, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What the server would answer to a request."""
        config = self.configs[name]
        assert {one.name for one in config.input} == set(tensors)
        for one in config.input:
            check_request(config, one, tensors[one.name])
        run = self._run_steps if config.platform == "ensemble" else self._run_model
        found = run(config, tensors)
        for one in config.output:
            check_request(config, one, found[one.name])
        return {one.name: found[one.name] for one in config.output}

    def _run_model(self, config, tensors):
        home = self.folder / config.name
        version = max(int(path.name) for path in home.iterdir() if path.name.isdecimal())
        file = home / str(version) / config.default_model_filename
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        names = [one.name for one in config.output]
        shaped = {one.name: reshaped(config, one, tensors[one.name]) for one in config.input}
        return dict(zip(names, session.run(names, shaped), strict=True))

    def _run_steps(self, config, tensors):
        known = dict(tensors)
        waiting = list(config.ensemble_scheduling.step)
        self._check_consistency(config)
        while waiting:
            ready = [one for one in waiting if set(one.input_map.values()) <= set(known)]
            assert ready, "a step waits for a tensor that nobody gives"
            for step in ready:
                given = {name: known[tensor] for name, tensor in step.input_map.items()}
                found = self.infer(step.model_name, given)
                known |= {tensor: found[name] for name, tensor in step.output_map.items()}
                waiting.remove(step)
        return known

    def _check_consistency(self, ensemble) -> None:
        """One type and one shape for each tensor, batch included, whoever has a part in it."""
        seen: dict[str, list[tuple[str, list[int]]]] = {}
        for one in (*ensemble.input, *ensemble.output):
            seen.setdefault(one.name, []).append(whole(ensemble, one))
        for step in ensemble.ensemble_scheduling.step:
            model = self.configs[step.model_name]
            assert model.max_batch_size == 0 or model.max_batch_size >= ensemble.max_batch_size
            assert set(step.input_map) == {one.name for one in model.input}, "each input is mapped"
            for one in model.input:
                seen.setdefault(step.input_map[one.name], []).append(whole(model, one))
            for one in model.output:
                if one.name in step.output_map:
                    seen.setdefault(step.output_map[one.name], []).append(whole(model, one))
        for name, told in seen.items():
            types = {kind for kind, _ in told}
            assert len(types) == 1, f"{name} is {types}"
            ranks = {len(shape) for _, shape in told}
            assert len(ranks) == 1, f"{name} is {told}"
            for sizes in zip(*(shape for _, shape in told), strict=True):
                assert len({size for size in sizes if size != -1}) <= 1, f"{name} is {told}"


def whole(config, tensor):
    """A tensor's type and shape with the batch."""
    dims = list(tensor.dims)
    return type_name(tensor.data_type), [-1, *dims] if config.max_batch_size else dims


def check_request(config, tensor, array) -> None:
    kind, shape = whole(config, tensor)
    assert array.dtype == NUMPY[kind], tensor.name
    assert array.ndim == len(shape), f"{config.name}: {tensor.name} is {array.shape}, and not {shape}"
    assert all(size in (-1, real) for size, real in zip(shape, array.shape, strict=True))
    assert not config.max_batch_size or array.shape[0] <= config.max_batch_size


def reshaped(config, tensor, array):
    if not tensor.HasField("reshape"):
        return array
    inner = list(tensor.reshape.shape)
    return array.reshape([array.shape[0], *inner] if config.max_batch_size else inner)
