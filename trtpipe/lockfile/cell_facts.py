"""The facts of a cell for its lockfile entry, from what its steps depend on and what they produced.

What a step depends on is known before it runs; those facts are kept apart, so that they can be checked without
building.
"""

from __future__ import annotations

from collections.abc import Mapping

from trtpipe.digests import Digest, key_of
from trtpipe.lockfile.entries import Fact, shown_digest
from trtpipe.plan.address import Stage
from trtpipe.plan.fingerprint import Record
from trtpipe.plan.options import CalibrateOptions, ValidateOptions, calibrating

Records = Mapping[Stage, Record]
"""Stage → the fingerprint record of a cell's step, as far as it is known."""


_IN_KEY = " (part of the key: not proved to build the same engine as others)"


def asked_facts(records: Records, cell: Record) -> dict[str, Fact]:
    """The facts that determine a cell: files by digest, the toolchain, the compute capabilities.

    `cell` holds the cell's own facts. Only facts from known steps are included.
    """
    facts: dict[str, Fact] = {}
    if "import" in records:
        facts["source"] = _sources(records["import"])
    facts |= _validation_facts(records)
    facts |= _calibration_facts(records)
    facts |= _files_fact(records, "transform", ("files", "beside"), "graft")
    facts |= _files_fact(records, "build_engine", ("plugins",), "plugins")
    toolchain = cell["toolchain"]
    facts["toolchain"] = f"{toolchain['flavour']} {toolchain['version']}"
    facts["python"] = f"{cell['python']}{_IN_KEY if 'python' in toolchain else ''}"
    facts["compute_capabilities"] = " ".join(cell["compute_capabilities"])
    facts |= _gpu_fact(records)
    return facts


def asked_fields(records: Records) -> set[str]:
    """The names of the facts that `asked_facts` takes from these steps, including facts that a cell may lack."""
    fields = {"toolchain", "python", "compute_capabilities"}
    told = {
        "import": ("source",),
        "validate": ("data", "golden"),
        "calibrate": ("calibration", "calibration_data", "calibration_cache"),
        "transform": ("graft",),
        "build_engine": ("plugins", "key"),
    }
    return fields.union(*(told.get(stage, ()) for stage in records))


def _gpu_fact(records: Records) -> dict[str, Fact]:
    """The GPU that an engine is tied to; engines of TensorRT-RTX are tied to none."""
    gpu = records["build_engine"]["options"].get("gpu") if "build_engine" in records else None
    known = {name: str(value) for name, value in gpu.items() if value is not None} if gpu else {}
    return {"gpu": known} if known else {}


def origin_facts(summary: Record) -> dict[str, Fact]:
    """The origins of a fetch step's files, without the addresses' queries."""
    files = summary.get("files", {})
    found = {_inside(name): _origin(one) for name, one in files.items()}
    return {"origin": found} if found else {}


def typed_facts(summary: Record) -> dict[str, Fact]:
    """How many nodes compute in each type, and how many stay in float32 because of float16's range."""
    counts = [f"{name} {count}" for name, count in sorted(summary.get("planned", {}).items())]
    overflow = len(summary.get("wide", {}).get("overflow", {}))
    counts += [f"{overflow} of them kept wide because of their values"] if overflow else []
    return {"nodes": ", ".join(counts)} if counts else {}


def tactic_facts(summary: Record) -> dict[str, Fact]:
    """The tactic that TensorRT chose under each key of its timing cache; empty for TensorRT-RTX, which has none."""
    tactics = summary.get("tactics") or {}
    return {"tactics": {str(key): str(tactic) for key, tactic in tactics.items()}} if tactics else {}


def _inside(name: str) -> str:
    """A fetched file's name without the folder of the fetch step."""
    return name.split("/", 1)[-1]


def _origin(told: Record) -> str:
    commit = f" at {told['commit']}" if told.get("commit") and told["commit"] not in told["url"] else ""
    return f"{told['url']}{commit} (sha256 {told.get('sha256', 'unknown')})"


def model_files(imported: Record) -> dict[str, str]:
    """A model's files by name → digest; for a declared model without files, the declaration's."""
    inputs = imported["inputs"]
    found = {name: text for slot in ("source", "files") for name, text in inputs.get(slot, {}).items()}
    return found or {"declared": f"{key_of(imported['options'])} (declared)"}


def _sources(imported: Record) -> dict[str, str]:
    found = model_files(imported)
    return {name: shown_digest(Digest.parse(text)) if "/" in text else text for name, text in found.items()}


def _validation_facts(records: Records) -> dict[str, Fact]:
    if "validate" not in records:
        return {}
    inputs = records["validate"]["inputs"]
    facts: dict[str, Fact] = {}
    if inputs.get("data"):
        facts["data"] = _set_of(inputs["data"])
    if ValidateOptions.from_record(records["validate"]["options"]).reference == "golden":
        facts["golden"] = _set_of(inputs["reference"])
    return facts


def _calibration_facts(records: Records) -> dict[str, Fact]:
    if "calibrate" not in records:
        return {}
    options, inputs = calibrating(records["calibrate"]["options"]), records["calibrate"]["inputs"]
    facts: dict[str, Fact] = {}
    if isinstance(options, CalibrateOptions):
        words = [options.method] if options.method else []
        words += [str(options.percentile)] if options.percentile is not None else []
        words += ["ranges"] if options.ranges else []
        facts["calibration"] = " ".join([*words, f"by {options.backend}"])
    if inputs.get("data"):
        facts["calibration_data"] = _set_of(inputs["data"])
    if inputs.get("cache"):
        facts["calibration_cache"] = shown_digest(Digest.parse(next(iter(inputs["cache"].values()))))
    return facts


def _files_fact(records: Records, stage: Stage, slots: tuple[str, ...], field: str) -> dict[str, Fact]:
    inputs = records[stage]["inputs"] if stage in records else {}
    found = {
        name: shown_digest(Digest.parse(text))
        for slot in slots
        for name, text in inputs.get(slot, {}).items()
    }
    return {field: found} if found else {}


def _set_of(files: Mapping[str, str]) -> str:
    """Many files as one line: the digest of one file, or of all names and digests."""
    size = sum(Digest.parse(text).size for text in files.values())
    if len(files) == 1:
        return f"{Digest.parse(next(iter(files.values()))).hex} (1 file, {size} bytes)"
    return f"{key_of(dict(files))} ({len(files)} files, {size} bytes)"
