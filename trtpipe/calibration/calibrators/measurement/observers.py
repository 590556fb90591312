"""Runs a model on a data set, one sample at a time, and passes on the values of the observed tensors.

The model runs with ONNX Runtime's optimizations, the observed tensors exposed as outputs. Samples run one at a time,
whatever the data set's batch size, because the observations must not depend on it. While one sample is processed, the
next is computed, so memory holds two samples and does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

import onnxruntime

from trtpipe.calibration.calibrators import CalibrationRequest
from trtpipe.calibration.calibrators.measurement.providers import refuse_fallback, session_providers
from trtpipe.canonical.summary import TensorInfo, summarize
from trtpipe.datasets.samples.batches import Dataset, open_dataset
from trtpipe.errors import ModelError, StepFailed
from trtpipe.runners.cpu.graphs import RunnableModel, runnable_model
from trtpipe.runners.cpu.mapped_pages import let_go_of_mapped_pages
from trtpipe.runners.cpu.onnxruntime import FOLDER_ENTRY, mapped_error

if TYPE_CHECKING:
    from trtpipe.arrays import Array

_QUIET = 4
FLOATS = ("tensor(float)", "tensor(float16)", "tensor(double)")
"""ONNX Runtime's names of the types that scales are of."""
_MAPPED = 64 << 20  # bytes of samples after which the mapped pages are returned to the system

Observe: TypeAlias = "Callable[[str, Array], None]"


class Observer:
    """A model in ONNX Runtime, with the observed tensors as outputs."""

    def __init__(self, request: CalibrationRequest) -> None:
        self.request = request
        model = runnable_model(request.model)
        self.inputs: tuple[TensorInfo, ...] = summarize(model.proto).inputs
        fed = {info.name for info in self.inputs}
        made = model.tensors()
        lacking = [name for name in request.tensors if name not in made and name not in fed]
        assert not lacking, f"the model has no {lacking}"
        self.fed = [name for name in request.tensors if name in fed]
        wanted = [name for name in request.tensors if name in made]
        seen = model.only_outputs(wanted) if wanted else model
        self.session = open_session(seen, request.threads, request.provider)
        kinds = {value.name: value.type for value in self.session.get_outputs()}
        self.wanted = [name for name in wanted if kinds.get(name) in FLOATS]

    def feed(self, inputs: dict[str, Array], observe: Observe) -> None:
        """Runs one sample. Raises StepFailed with the node that failed."""
        for name, value in self._seen(inputs).items():
            observe(name, value)

    def seen(self, data: Dataset, first: int = 0) -> Iterator[dict[str, Array]]:
        """The values of every tensor, sample by sample from `first` on; the next sample is computed while the caller
        looks at this one. Raises StepFailed with the node that failed, and what reading samples raises.
        """
        left = islice(iter(data), first, None)
        mapped = 0

        def compute() -> dict[str, Array] | None:
            nonlocal mapped
            inputs = next((inputs for inputs, _ in left), None)
            if inputs is None:
                return None
            mapped += sum(array.nbytes for array in inputs.values())
            # Pages of mapped sample files count as used memory until they are dropped.
            if mapped > _MAPPED:
                let_go_of_mapped_pages()
                mapped = 0
            return self._seen(inputs)

        with ThreadPoolExecutor(1) as pool:
            ahead = pool.submit(compute)
            while (found := ahead.result()) is not None:
                ahead = pool.submit(compute)
                yield found

    def _seen(self, inputs: dict[str, Array]) -> dict[str, Array]:
        found = {name: inputs[name] for name in self.fed}
        if not self.wanted:
            return found
        try:
            values = self.session.run(self.wanted, inputs)
        except Exception as error:
            raise mapped_error(error, self.request.model, StepFailed) from error
        return found | dict(zip(self.wanted, values, strict=True))

    @contextmanager
    def samples(self) -> Iterator[Dataset]:
        """The data set, a sample at a time."""
        single = self.request.dataset.model_copy(update={"batch": 1})
        with open_dataset(single, self.request.file, self.inputs, samples=self.request.samples) as data:
            yield data


def open_session(
    model: RunnableModel, threads: int, provider: str, entries: Mapping[str, str] | None = None
) -> onnxruntime.InferenceSession:
    """The model in ONNX Runtime; `entries` are further settings of the session. Raises ModelError."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.use_deterministic_compute = True
    options.log_severity_level = _QUIET
    options.add_session_config_entry(FOLDER_ENTRY, str(model.folder))
    # Its threads would wait busily for the next node, on the cores that count the sample before.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    for name, value in (entries or {}).items():
        options.add_session_config_entry(name, value)
    providers = session_providers(provider, onnxruntime.get_available_providers())
    try:
        session = onnxruntime.InferenceSession(model.proto.SerializeToString(), options, providers=providers)
    except Exception as error:
        raise mapped_error(error, model.path, ModelError) from error
    refuse_fallback(provider, session.get_providers())
    return session
