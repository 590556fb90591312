"""Which engines become which models of a Triton repository: pure functions of a package's index.

One model serves every GPU that its engines were built for, by compute capability. Where two engines are for different
GPUs of one capability, Triton has no way to tell these apart: then each target becomes a model of its own, and whoever
starts the server names those that fit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from trtpipe.errors import PackageError
from trtpipe.packages.index import Fallback, Index, PackedEngine, PackedModel, Tensor
from trtpipe.problem_codes import Code


@dataclass(frozen=True, slots=True)
class Served:
    """One model of the repository."""

    name: str
    model: PackedModel
    engines: tuple[PackedEngine, ...]
    """With the TensorRT backend; elsewhere those that the typed model was made for."""
    target: str = ""
    """The target, when models of several targets share a compute capability."""

    @property
    def fallback(self) -> Fallback | None:
        """The typed model."""
        variant = self.engines[0].variant
        return next((one for one in self.model.fallbacks if one.variant == variant), None)

    @property
    def tensors(self) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Inputs and outputs, which all engines have alike."""
        return self.engines[0].inputs, self.engines[0].outputs


def served_engines(index: Index) -> list[Served]:
    """The models of the TensorRT backend. Raises PackageError for engines of TensorRT-RTX, and for unequal ones."""
    chosen = _chosen(index)
    _refuse_rtx([engine for one in chosen for engine in one.engines])
    for one in chosen:
        _refuse_unequal(one.engines)
    if not any(_capability_twice(one.engines) for one in chosen):
        return chosen
    return [
        Served(f"{one.name}-{engine.target}", one.model, (engine,), engine.target)
        for one in chosen
        for engine in one.engines
    ]


def served_models(index: Index) -> list[Served]:
    """The models of the ONNX Runtime backend: of several engines of a model, the first one's variant."""
    chosen = _chosen(index)
    lacking = [one.name for one in chosen if one.fallback is None]
    if lacking:
        fact = f"the typed ONNX of {', '.join(lacking)} is not in the package, and nothing else can be served here"
        raise PackageError(Code.NOT_SERVABLE, fact)
    return chosen


def sharing(served: Sequence[Served]) -> list[list[str]]:
    """Names of models of which a server loads one: those of one model, for different targets."""
    by_model: dict[str, list[str]] = {}
    for one in served:
        if one.target:
            by_model.setdefault(one.model.name, []).append(one.name)
    return [names for names in by_model.values() if len(names) > 1]


def _chosen(index: Index) -> list[Served]:
    """Of a bundle's member, the engines that its targets take; of anything else, those of each variant."""
    if index.bundle is None:
        return [one for model in index.models for one in _by_variant(model)]
    found = []
    for model in index.models:
        cells = [chosen[model.name] for chosen in index.targets.values() if model.name in chosen]
        engines = tuple(engine for engine in model.engines if engine.cell in cells)
        found.append(Served(f"{index.bundle}-{model.name}", model, engines))
    return found


def _by_variant(model: PackedModel) -> list[Served]:
    variants = list(dict.fromkeys(engine.variant for engine in model.engines))
    return [
        Served(
            model.name if len(variants) == 1 else f"{model.name}-{variant}",
            model,
            tuple(engine for engine in model.engines if engine.variant == variant),
        )
        for variant in variants
    ]


def _capability_twice(engines: Sequence[PackedEngine]) -> bool:
    counts = Counter(capability for engine in engines for capability in engine.compute_capabilities)
    return max(counts.values(), default=0) > 1


def _refuse_rtx(engines: Sequence[PackedEngine]) -> None:
    cells = [engine.cell for engine in engines if engine.flavour == "tensorrt_rtx"]
    if cells:
        fact = f"Triton's TensorRT backend does not load engines of TensorRT-RTX, as {', '.join(cells)} are"
        remedy = "serve their typed ONNX: --backend onnxruntime"
        raise PackageError(Code.NOT_SERVABLE, fact, remedy)


def _refuse_unequal(engines: Sequence[PackedEngine]) -> None:
    """Raises PackageError for engines that one `config.pbtxt` cannot describe."""
    first = engines[0]
    for other in engines[1:]:
        same = (first.inputs, first.outputs, first.profiles) == (other.inputs, other.outputs, other.profiles)
        if not same:
            raise PackageError(
                Code.NOT_SERVABLE,
                f"{first.cell} and {other.cell} differ in their inputs, outputs or profiles, and Triton knows one "
                "description for all GPUs",
            )
