"""Which quantized layers each TensorRT-RTX builds for which GPU, tried: the graphs that trtpipe's precisions write.

    python -m tests.conformance.sweep_quantized [--write] [--work FOLDER] [--jobs N] [--toolchain VERSION=SITE…]

Two sets of models (`quantized_specimens.py`). `layers`: around each layer that a precision quantizes, in each type
that the rest may compute in (`base`), and in each size of blocks. `sources`: models that come quantized, as
importing makes them, in each floating precision. Each is parsed and built, raw, in child processes, by the
TensorRT-RTX of each SITE for every GPU that it knows: for those together that `check` thinks take it, else for each
alone; what fails together is built for each alone.

Beside it stands what `check` says of that model, version and GPU. With `--write` the result becomes
`quantized_builds.json`: what was refused, and every case in which `check` and the builder differ.
"""

from __future__ import annotations

import json
import pickle
import re
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import onnx

HERE = Path(__file__).resolve().parent

from tests.conformance.children import in_children, sample  # noqa: E402
from tests.conformance.commands import parser_of, work_folder, write_or_print  # noqa: E402
from tests.conformance.quantized_specimens import BASES, BLOCKS, layers, sources  # noqa: E402
from tests.conformance.sweep_types import _words  # noqa: E402
from tests.conformance.typed_phases import import_model, keep  # noqa: E402
from trtpipe.canonical.evaluation import Evaluator  # noqa: E402
from trtpipe.canonical.folding import infer_values  # noqa: E402
from trtpipe.canonical.inference import Inferred  # noqa: E402
from trtpipe.errors import TrtpipeError  # noqa: E402
from trtpipe.precisions import Choices, find_precision  # noqa: E402
from trtpipe.precisions.casts.files import rewrite_file  # noqa: E402
from trtpipe.proofs.engine_limits.proof import engine_refusals  # noqa: E402
from trtpipe.proofs.typed_nodes import typed_model  # noqa: E402
from trtpipe.targets.capabilities import capabilities_of  # noqa: E402
from trtpipe.targets.compute_capability import ComputeCapability  # noqa: E402
from trtpipe.targets.types_by_gpu import gemm_refusals, missing_types  # noqa: E402
from trtpipe.toolchains.detect import driver_may_be_here  # noqa: E402

OUT = HERE / "quantized_builds.json"
_PRECISIONS = {
    "int8": (None,),
    "fp8": (None,),
    "int4": BLOCKS,
    "fp4": BLOCKS,
    "mxfp8": (None,),
    "nvfp4": (None,),
}
"""Precision → its sizes of blocks."""


class Tried(NamedTuple):
    """One model: of which set, in which precision and base, with which blocks, of which layer; its digest."""

    kind: str
    precision: str
    base: str
    layer: str
    model: str
    refused: str = ""
    """Why trtpipe makes no such model."""


def specimens(work: Path) -> list[Tried]:
    """Every model, kept in `work/models`; made once."""
    kept, index = work / "models", work / "models.json"
    if not index.exists():
        kept.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory() as folder, Evaluator(Path(folder)) as evaluator:
            found = [*_layers(kept, Path(folder), evaluator), *_sources(kept, Path(folder), evaluator)]
        index.write_text(json.dumps(found))
    return [Tried(*row) for row in json.loads(index.read_text())]


def _layers(kept: Path, folder: Path, evaluator: Evaluator) -> Iterator[Tried]:
    for layer in layers():
        source, canonical = folder / "source.onnx", folder / "canonical.onnx"
        onnx.save(layer.model, source)
        refused = import_model(source, canonical, evaluator)
        assert not refused, f"{layer.name}: {refused}"
        for precision, blocks in _PRECISIONS.items():
            for block in blocks:
                for base in BASES:
                    called = f"{precision} in blocks of {block}" if block else precision
                    made = _typed(canonical, folder / "typed.onnx", precision, base, block)
                    if isinstance(made, str):
                        yield Tried("layers", called, base, layer.name, "", made)
                    elif made is not None:
                        digest = keep(kept, made.SerializeToString(), layer.arrays)
                        yield Tried("layers", called, base, layer.name, digest)


def _sources(kept: Path, folder: Path, evaluator: Evaluator) -> Iterator[Tried]:
    for layer in sources():
        source, canonical = folder / "source.onnx", folder / "canonical.onnx"
        onnx.save(layer.model, source)
        refused = import_model(source, canonical, evaluator)
        for base in BASES:
            made = refused or _typed(canonical, folder / "typed.onnx", base, None, None)
            if isinstance(made, str):
                yield Tried("sources", "", base, layer.name, "", made)
            elif made is not None:
                digest = keep(kept, made.SerializeToString(), layer.arrays)
                yield Tried("sources", "", base, layer.name, digest)


def _typed(
    canonical: Path, typed: Path, name: str, base: str | None, block: int | None
) -> onnx.ModelProto | str | None:
    """The typed model; why there is none; None where the precision quantizes nothing of it."""
    precision = find_precision(name)
    assert precision is not None
    values = [*onnx.load(canonical).graph.input, *infer_values(onnx.load(canonical))]
    amax = {one if isinstance(one, str) else one.name: 4.0 for one in values}
    try:
        made = rewrite_file(precision, canonical, typed, choices=Choices(base=base, amax=amax, block=block))
    except TrtpipeError as error:
        return str(error)
    if precision.quantized and not made.report.plan.quantized:
        return None
    return onnx.load(typed)


def chosen_of(rows: Sequence[Tried], count: int) -> list[Tried]:
    """The rows of `count` models, evenly spread over their digests; all of them for 0."""
    digests = {row.model for row in rows if row.model}
    wanted = set(sample(sorted(digests), count)) if count else digests
    return [row for row in rows if row.model in wanted]


def built(
    work: Path, rows: Sequence[Tried], toolchain: tuple[str, str], only: Sequence[str], jobs: int
) -> dict[str, dict[str, Any]]:
    """`DIGEST@GPU` → what the builder says of it for that GPU; kept in `work`."""
    version, site = toolchain
    index = work / f"built-{version}.json"
    known: dict[str, dict[str, Any]] = json.loads(index.read_text()) if index.exists() else {}
    gpus = [one.sm for one in capabilities_of("tensorrt_rtx", version) if not only or one.sm in only]
    command = ["build_phases", str(work / "models"), *([site] if site else [])]

    def run(groups: Sequence[tuple[str, Sequence[str]]]) -> None:
        names = [
            f"{digest}@{','.join(some)}" for digest, some in groups if f"{digest}@{some[0]}" not in known
        ]
        print(f"{version}: {len(names)} builds", file=sys.stderr)
        for one in in_children(command, _lost, names, jobs, progress=True):
            digest, _, some = one["name"].partition("@")
            if one["stage"] == "built" or "," not in some:
                known.update({f"{digest}@{gpu}": one for gpu in some.split(",")})
        index.write_text(json.dumps(known))

    digests = sorted({row.model for row in rows if row.model})
    run([(digest, group) for digest in digests for group in _groups(work, digest, version, gpus)])
    run([(digest, (gpu,)) for digest in digests for gpu in gpus])
    return known


def _groups(work: Path, digest: str, version: str, gpus: Sequence[str]) -> list[Sequence[str]]:
    """The GPUs that are thought to take a model, together, and each of the others alone."""
    able = [gpu for gpu in gpus if not said(work, digest, version, gpu)]
    return [*([able] if able else []), *((gpu,) for gpu in gpus if gpu not in able)]


def _lost(name: str, phase: str) -> dict[str, Any]:
    return {"name": name, "stage": phase or "parse", "reason": "the process died", "node": "", "op": ""}


def said(work: Path, digest: str, version: str, gpu: str) -> list[str]:
    """What `check` refuses of a model for a GPU, without asking TensorRT."""
    _, dtypes, nodes = _read(work, digest)
    able = [ComputeCapability.parse(gpu)]
    found = [
        *missing_types("tensorrt_rtx", able, dtypes),
        *gemm_refusals("tensorrt_rtx", version, able, nodes),
        *_limits(work, digest, version),
    ]
    return [f"{one.code} {one.fact}" for one in found if one.severity == "error"]


@lru_cache(maxsize=4)
def _read(work: Path, digest: str) -> Any:
    encoded, _ = pickle.loads((work / "models" / f"{digest}.built").read_bytes())
    model = onnx.load_model_from_string(encoded)
    typed = typed_model(model, Inferred(infer_values(model)))
    return model, typed.dtypes, typed.nodes


@lru_cache(maxsize=4)
def _limits(work: Path, digest: str, version: str) -> Any:
    return tuple(engine_refusals(_read(work, digest)[0], version, driver=driver_may_be_here()))


def differences(
    work: Path, rows: Sequence[Tried], version: str, known: Mapping[str, Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Each model and GPU that is refused by the builder, by `check`, or by both."""
    for row in rows:
        if not row.model:
            continue
        for gpu in (one.sm for one in capabilities_of("tensorrt_rtx", version)):
            result = known.get(f"{row.model}@{gpu}")
            if result is None:
                continue
            refused = "" if result["stage"] == "built" else _words(result)
            told = said(work, row.model, version, gpu)
            if refused or told:
                yield {"row": row, "version": version, "gpu": gpu, "builder": refused, "check": told}


def tried_of(chosen: Sequence[Tried], rows: Sequence[Tried], known: Mapping[str, Any]) -> dict[str, Any]:
    """How many models and which GPUs a version was asked about."""
    gpus = sorted({name.partition("@")[2] for name in known}, key=lambda gpu: int(gpu[2:]))
    return {"gpus": gpus, "models": len(chosen), "of": len(rows), "answers": len(known),
            "built": sum(one["stage"] == "built" for one in known.values())}  # fmt: skip


def table(found: Sequence[Mapping[str, Any]], tried: Mapping[str, Any]) -> dict[str, Any]:
    """What is written: what was tried and what not, each refusal of the builder, and where `check` says otherwise."""
    refused: dict[str, dict[str, dict[str, set[str]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(set))
    )
    for one in found:
        row = Tried(*one["row"])
        if one["builder"]:
            says = re.sub(r"sm\d+", "SM", re.sub(r"'[^']*'", "'…'", one["builder"]))
            bases = refused[f"{row.precision or 'source'}: {row.layer}"][f"{one['version']}: {says}"]
            bases[row.base].add(one["gpu"])
    merged: dict[str, list[str]] = defaultdict(list)
    for name, said_of in sorted(refused.items()):
        told = {one: {base: sorted(gpus) for base, gpus in found.items()} for one, found in said_of.items()}
        merged[json.dumps(told, sort_keys=True)].append(name)
    other = sorted(
        f"{one['version']} {one['gpu']} {' '.join(one['row'][:4])}: {one['builder'] or one['check'][0]}"
        for one in found
        if bool(one["builder"]) != bool(one["check"])
    )
    return {
        "tried": dict(tried),
        "not_tried": _NOT_TRIED,
        "refused": [{"of": names, "says": json.loads(told)} for told, names in merged.items()],
        "check_says_otherwise": other,
    }


_NOT_TRIED = [
    "machines with an NVIDIA driver",
    "TensorRT-RTX before 1.4, and the flavour tensorrt",
    "layers of other sizes: those that are refused for their size alone are not found",
    "a plugin between Q and DQ, and Q and DQ in branches and loops, where no precision puts them",
    "int4 and fp4 of activations, which TensorRT quantizes weights to alone; blocks of other sizes than 16 to 128",
]


def main() -> int:
    parser = parser_of(__doc__, "--write", "--work", "--sample", jobs=2)
    parser.add_argument(
        "--toolchain", nargs="*", default=["1.7.1.116="], metavar="VERSION=SITE", help="TensorRT-RTXs"
    )
    parser.add_argument("--gpus", nargs="*", default=[], metavar="SM", help="only for these (default all)")
    parser.add_argument("--kept", action="store_true", help="build nothing: what --work has of each version")
    arguments = parser.parse_args()
    with work_folder(arguments.work) as work:
        rows = specimens(work)
        print(f"{len(rows)} models", file=sys.stderr)
        found, tried = [], {}
        for version, _, site in (one.partition("=") for one in arguments.toolchain):
            chosen = chosen_of(rows, arguments.sample)
            known = built(
                work, [] if arguments.kept else chosen, (version, site), arguments.gpus, arguments.jobs
            )
            answered = {name.partition("@")[0] for name in known}
            chosen = [row for row in chosen if row.model in answered]
            found += list(differences(work, chosen, version, known))
            tried[version] = tried_of(chosen, rows, known)
        (work / "found.json").write_text(json.dumps(found))
    text = json.dumps(table(found, tried), indent=1, ensure_ascii=False) + "\n"
    write_or_print(text, OUT, write=arguments.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
