"""The manifest of a cell, a JSON file: what its engine is, what it was built from and how, and what was verified.

Composed from the cell's traces alone, so that a restored engine gets the same manifest as a built one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trtpipe import __version__
from trtpipe.digests import Digest
from trtpipe.json_values import Json, JsonObject, object_in, objects_in, text_in
from trtpipe.lockfile import KEEP, Fact, shown_digest
from trtpipe.lockfile.cell_facts import asked_facts, model_files, origin_facts, tactic_facts, typed_facts
from trtpipe.lockfile.measurements import measured_facts
from trtpipe.lockfile.recipes import recipe_of
from trtpipe.metrics.reach import Link
from trtpipe.plan.address import Stage
from trtpipe.plan.graph import Cell
from trtpipe.plan.trace import Trace

SCHEMA = 1

FP8_DTYPE = "float8e4m3fn"
FP8_ELSEWHERE = (
    "ONNX Runtime (1.32, on the CPU) computes model.onnx wrongly, for its optimizer takes fp8 for int8; with "
    '`SessionOptions.add_session_config_entry("session.disable_quant_qdq", "1")` it computes it rightly'
)


@dataclass(frozen=True, slots=True)
class Proof:
    """The results of a cell's checks: validation and audit, and checks that were not run, by name."""

    validation: JsonObject
    audit: JsonObject
    not_run: tuple[str, ...]
    run_on_gpu: JsonObject = field(default_factory=dict)
    """What the engine itself proved on a GPU: `gpu`, `tensorrt`, `outcome`, `verdicts`; empty while nobody ran it."""
    network: JsonObject = field(default_factory=dict)
    """The verdict on the network that TensorRT's parser made, see `networks.verdicts`."""
    reach: tuple[Link, ...] = ()
    """How far the proof reaches, link by link."""

    def gpu_words(self) -> str:
        """Which GPU the engine was proved on: `NVIDIA L4 (sm89)`, or `not run`."""
        return gpu_words(self.run_on_gpu)

    def machine_words(self) -> str:
        """The same with its driver and the kind of machine: `NVIDIA L4 (sm89), driver 580.95.05, linux x86_64 avx2`."""
        found = object_in(self.run_on_gpu, "machine") if self.run_on_gpu.get("machine") else {}
        driver = f"driver {found['driver']}" if found.get("driver") else ""
        system, architecture, kind = (
            str(found.get(name, "")) for name in ("system", "architecture", "processor")
        )
        processor = kind if architecture in kind.split() else f"{architecture} {kind}".strip()
        return ", ".join(filter(None, (self.gpu_words(), driver, f"{system} {processor}".strip())))

    def verdicts(self) -> list[JsonObject]:
        """The thresholds' verdicts on the CPU; none if nothing was validated."""
        return objects_in(self.validation, "verdicts") if "verdicts" in self.validation else []


def gpu_words(run_on_gpu: JsonObject) -> str:
    """The GPU of a manifest's `run_on_gpu`: `NVIDIA L4 (sm89)`, or `not run`. Raises Malformed."""
    if not run_on_gpu.get("gpu"):
        return "not run"
    gpu = object_in(run_on_gpu, "gpu")
    return f"{text_in(gpu, 'name')} ({text_in(gpu, 'compute_capability')})"


def manifest_of(cell: Cell, traces: Mapping[Stage, Trace], proof: Proof) -> dict[str, Json]:
    """The manifest as a JSON object."""
    engine = traces["build_engine"]
    built = engine.summary
    return {
        "schema": SCHEMA,
        "trtpipe": __version__,
        "cell": cell.name,
        "pipeline": cell.pipeline,
        "variant": cell.variant,
        "target": cell.target,
        "engine": _engine(engine),
        "model": {name: _digest(digest) for name, digest in sorted(traces["quantize"].outputs.items())},
        "source": model_files(traces["import"].fingerprint),
        **_origin(traces),
        **_imported(traces["import"]),
        **_elsewhere(proof.audit),
        "gpu": cell.facts["gpu"],
        "compute_capabilities": cell.facts["compute_capabilities"],
        "toolchain": {**cell.facts["toolchain"], "python": _python_of(engine)},
        "precision": precision_of(cell, traces),
        "typed": _typed(traces["quantize"]),
        "profiles": engine.fingerprint["options"]["profiles"],
        "io": built["io"],
        **_calibration(traces),
        **_search(traces),
        "audit": dict(proof.audit),
        "validation": dict(proof.validation),
        "network": dict(proof.network),
        "reach": [link.to_json() for link in proof.reach],
        **({"run_on_gpu": dict(proof.run_on_gpu)} if proof.run_on_gpu else {}),
        "not_run": list(proof.not_run),
        "reproducibility": _reproducibility(built),
        "timings": _timings(traces),
        "peak_rss": {stage: trace.summary.get("peak_rss") for stage, trace in traces.items()},
        "steps": {
            stage: {
                "address": str(cell.steps[stage]),
                "key": trace.key,
                "fingerprint": dict(trace.fingerprint),
            }
            for stage, trace in traces.items()
        },
    }


def _engine(engine: Trace) -> dict[str, Json]:
    """The engine's file; and the system that built it, where it runs on no other."""
    built = engine.summary
    return {
        **_file("model.engine", engine.outputs["model.engine"]),
        "normalised": built["normalised"],
        "header": built.get("header"),
        **({"platform": built["platform"]} if "platform" in built else {}),
    }


def lock_entry_of(cell: Cell, traces: Mapping[Stage, Trace], proof: Proof) -> dict[str, Fact]:
    """The cell's facts for the lockfile."""
    engine = traces["build_engine"]
    records = {stage: trace.fingerprint for stage, trace in traces.items()}
    scales = traces["calibrate"].outputs.get("scales.json") if "calibrate" in traces else None
    return {
        "key": engine.key,
        **asked_facts(records, {**cell.facts, "python": _python_of(engine)}),
        **(origin_facts(traces["fetch"].summary) if "fetch" in traces else {}),
        "model": shown_digest(traces["quantize"].outputs["model.onnx"]),
        **({"scales": shown_digest(scales)} if scales else {}),
        "engine": shown_digest(engine.outputs["model.engine"]),
        "normalised": engine.summary["normalised"],
        "address_randomisation": _randomisation(engine.summary),
        "precision": precision_of(cell, traces),
        **_locked_choice(traces),
        **typed_facts(traces["quantize"].summary),
        **tactic_facts(engine.summary),
        "validated": str(proof.validation.get("outcome", "not run")).replace("_", " "),
        "measured": measured_facts(proof.verdicts()),
        "reach": {link.part: link.words() for link in proof.reach if link.part != "engine"},
        "layers_read": _layers_read(proof.network),
        "run_on_gpu": proof.machine_words(),
    }


def _python_of(engine: Trace) -> str:
    """The interpreter that ran TensorRT, from the key if the key has one."""
    return str(
        engine.fingerprint["tools"]["toolchain"].get("python") or engine.summary.get("python", "unknown")
    )


def _layers_read(network: JsonObject) -> str:
    """How much of TensorRT's network was read; unread layers by type."""
    unread = object_in(network, "unread_by_type")
    types = f" (not: {', '.join(f'{name} {count}' for name, count in unread.items())})" if unread else ""
    return f"{network['layers_read']} of {network['layers']}{types}"


def precision_of(cell: Cell, traces: Mapping[Stage, Trace]) -> str:
    """The precision of the typed model: the spec's, or the one that a search chose."""
    if "search" in traces:
        return str(traces["search"].summary["choice"]["precision"])
    return str(cell.facts["precision"])


def _search(traces: Mapping[Stage, Trace]) -> dict[str, Json]:
    """The result of the search, with its points for drawing, if the cell has one."""
    if "search" not in traces:
        return {}
    return {"search": {k: v for k, v in traces["search"].summary.items() if k != "evaluations_run"}}


def _locked_choice(traces: Mapping[Stage, Trace]) -> dict[str, Fact]:
    """The choice as plain facts, and the recipe of the search that it answers."""
    if "search" not in traces:
        return {}
    found = traces["search"].summary
    choice = found["choice"]
    facts: dict[str, Fact] = {
        "search": recipe_of(traces["search"].fingerprint),
        "precision": choice["precision"],
    }
    facts |= {"base": choice["base"] or "", "reached": found["reached"]}
    return facts | {f"{KEEP}{name}": list(globs) for name, globs in choice["keep"].items()}


def _origin(traces: Mapping[Stage, Trace]) -> dict[str, Json]:
    """The origins of fetched files; only the fetch step's key contains addresses."""
    return {"origin": dict(traces["fetch"].summary["files"])} if "fetch" in traces else {}


def _imported(trace: Trace) -> dict[str, Json]:
    """Changes made by import: counts, notes, and the cost of equivalent forms."""
    changes = trace.summary.get("changes")
    return {"imported": changes} if changes else {}


def _elsewhere(audit: JsonObject) -> dict[str, Json]:
    """Known wrong results of other runtimes for the typed model beside the engine."""
    products = object_in(audit, "products") if audit.get("products") else {}
    blocks = str(audit.get("asked", "")).startswith("mx")  # other runtimes lack the operators of these types
    return {"other_runtimes": [FP8_ELSEWHERE]} if FP8_DTYPE in products and not blocks else {}


def _typed(quantize: Trace) -> dict[str, Json]:
    """The result of the precision rewrite: nodes per type, casts, and which nodes stayed in float32 and why."""
    summary = quantize.summary
    return {name: summary[name] for name in ("planned", "casts", "quantized", "wide") if name in summary}


def _calibration(traces: Mapping[Stage, Trace]) -> dict[str, Json]:
    """The calibrator's report, if the cell has one."""
    if "calibrate" not in traces:
        return {}
    return {"calibration": {k: v for k, v in traces["calibrate"].summary.items() if k != "peak_rss"}}


def _reproducibility(built: JsonObject) -> dict[str, Json]:
    state = _randomisation(built)
    addresses = str(built.get("addresses", "unknown"))
    record: dict[str, Json] = {"address_randomisation": state, "addresses": addresses}
    if addresses == "varying":
        record["consequence"] = (
            "TensorRT could not be kept at fixed addresses here: a rebuild may differ in generated names; "
            "compare the normalised digest (of some networks it may differ as well)"
        )
    return record


def _randomisation(built: JsonObject) -> str:
    return str(built.get("address_randomisation", "unknown"))


def _timings(traces: Mapping[Stage, Trace]) -> dict[str, Json]:
    seconds = {stage: round(trace.seconds, 3) for stage, trace in traces.items()}
    return {"seconds": seconds, "engine_phases": traces["build_engine"].summary.get("seconds", {})}


def _file(name: str, digest: Digest) -> dict[str, Json]:
    return {"file": name, **_digest(digest)}


def _digest(digest: Digest) -> dict[str, Json]:
    return {"blake3": digest.hex, "bytes": digest.size}
