"""Measures typed models one after the other against one reference, whose outputs are kept in between.

A search measures hundreds of typed models of one source on the same data, so the reference runs once on each batch and
its outputs are kept in files. The measurements are those of a validation, without the search for the origin of
infinities.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, fields
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from trtpipe.canonical.summary import TensorInfo, summarize
from trtpipe.digests import key_of
from trtpipe.errors import ModelError
from trtpipe.runners.cpu.graphs import RunnableModel, runnable_model
from trtpipe.runners.cpu.onnxruntime import NoKernel, open_runner
from trtpipe.runners.validation.references import SourceReference, open_source
from trtpipe.runners.validation.requests import ValidationRequest
from trtpipe.runners.validation.validate import Run

if TYPE_CHECKING:
    from trtpipe.arrays import Array
    from trtpipe.json_values import Json, JsonObject


@dataclass(frozen=True)
class RememberedReference(SourceReference):
    """A reference that stores its outputs in files and reads them again, in the order of the requests."""

    folder: Path = field(default_factory=Path)
    order: Iterator[int] = field(default_factory=count)

    def expected(self, typed: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name. Raises StepFailed."""
        path = self.folder / f"{next(self.order)}.npz"
        if path.exists():
            with np.load(path, allow_pickle=False) as arrays:
                return {name: arrays[f"a{index}"] for index, name in enumerate(self.outputs)}
        outputs = super().expected(typed)
        if all(isinstance(array, np.ndarray) and array.dtype.kind in "biufc" for array in outputs.values()):
            arrays = {f"a{index}": outputs[name] for index, name in enumerate(self.outputs)}
            np.savez(path, **arrays)
        return outputs


@dataclass
class Measuring:
    """Measures typed models; `folder` is for files that are kept between them."""

    folder: Path
    opened: dict[str, SourceReference] = field(default_factory=dict)
    stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Measuring:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stack.close()

    def measure(self, request: ValidationRequest, options: JsonObject) -> dict[str, Json]:
        """The measurements: `places` and `not_run`, as a validation's report has them.

        `options` are those of the request. If ONNX Runtime lacks a kernel or cannot load the source, there are no
        places and `not_run` says why. Raises ModelError or StepFailed.
        """
        model = runnable_model(request.typed)
        inputs = summarize(model.proto).inputs
        try:
            with open_runner(model, threads=request.threads) as runner:
                run = Run(request, model, runner, inputs, None)
                if request.golden:
                    run.golden()
                else:
                    run.source(self._reference(request, options, model, inputs))
        except NoKernel as error:
            why = error.problems[0].fact
            return {"places": [], "not_run": [{"name": "the typed model", "why": why}]}
        report = run.report()
        return {name: report[name] for name in ("places", "not_run")}

    def _reference(
        self,
        request: ValidationRequest,
        options: JsonObject,
        model: RunnableModel,
        inputs: tuple[TensorInfo, ...],
    ) -> RememberedReference:
        """The reference, rewound to its first output; its requests depend only on the options and the inputs' types."""
        fed = [[info.name, info.dtype] for info in inputs]
        key = key_of([json.loads(json.dumps(options)), fed, model.outputs()])
        folder = self.folder / key[:16]
        folder.mkdir(parents=True, exist_ok=True)
        source = self._source(request, model)
        return RememberedReference(
            **{one.name: getattr(source, one.name) for one in fields(source)}, folder=folder
        )

    def _source(self, request: ValidationRequest, model: RunnableModel) -> SourceReference:
        outputs = "\n".join(model.outputs())
        if outputs not in self.opened:
            try:
                opened = open_source(
                    request.reference,
                    model.outputs(),
                    request.bound,
                    threads=request.threads,
                    reshaped=request.reshaped,
                    wide=request.wide,
                )
                self.opened[outputs] = self.stack.enter_context(opened)
            except NoKernel as error:
                raise ModelError(error.problems) from error
        return self.opened[outputs]
