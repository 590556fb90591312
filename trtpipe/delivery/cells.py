"""Delivers a cell: judges its measurements, then puts its files into the build directory.

`manifest.json` is written last and removed first, so a directory that has one is complete. A cell that fails its
thresholds or its audit is not delivered, so that nobody picks up an engine that must not ship.
"""

from __future__ import annotations

import contextlib
import errno
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from trtpipe import __version__
from trtpipe.delivery.engine_proofs import PROOF, read_proof
from trtpipe.delivery.engine_proofs import SCHEMA as PROOF_SCHEMA
from trtpipe.delivery.failing_inputs import keeping_failing_inputs
from trtpipe.delivery.origin_files import SCHEMA as STATEMENTS
from trtpipe.delivery.origin_files import Statements
from trtpipe.delivery.proofs import WhyNotRun, not_run_here, prove_cell
from trtpipe.delivery.search_plot import MISSING, PLOT, pareto_svg
from trtpipe.digests import Digest, digest_file, key_of, same_digest
from trtpipe.errors import ArtifactMissing, TrtpipeError
from trtpipe.files import held, write_whole
from trtpipe.json_values import object_in
from trtpipe.lockfile import SCHEMA as LOCK_SCHEMA
from trtpipe.lockfile import Fact, cell_text
from trtpipe.metrics.reach import words_of
from trtpipe.plan.address import Address, Stage
from trtpipe.plan.graph import Cell, Step
from trtpipe.plan.ports import Observer
from trtpipe.plan.trace import Trace
from trtpipe.problem_codes import Code
from trtpipe.provenance import manifest as manifests
from trtpipe.provenance.manifest import Proof, lock_entry_of, manifest_of
from trtpipe.runners.inference.delivered import MANIFEST
from trtpipe.shapes import format_size
from trtpipe.spec.pipeline import PipelineSpec
from trtpipe.text.summaries import cell_summary
from trtpipe.workspace.target_facts import TargetResolver
from trtpipe.workspace.workspace import STATE_DIRECTORY, Workspace

DELIVERED: Mapping[Stage, tuple[str, ...]] = {
    "calibrate": ("scales.json",),
    "search": ("precision.json", "search.json"),
    "quantize": ("model.onnx", "model.onnx.data"),
    "build_engine": ("model.engine", "build.log", "network.json", "layers.json"),
    "validate": ("validation.json", "golden.npz"),
    "readback": ("readback.json",),
}
"""The artifacts that a cell's directory holds, by the stage that yields them."""


def policy_of(spec: PipelineSpec, variant: str) -> str:
    """A key of everything that a variant's cells are judged by: thresholds and audit limit."""
    asked = spec.validate_
    record = {
        "manifest": manifests.SCHEMA,
        "lockfile": LOCK_SCHEMA,
        "trtpipe": __version__,
        "statements": STATEMENTS,
        "proof": PROOF_SCHEMA,
        "thresholds": [one.model_dump() for one in asked.thresholds] if asked else [],
        "readback": asked.readback.model_dump(mode="json") if asked else None,
        "min_low_precision": spec.variants[variant].min_low_precision,
    }
    budget = spec.variants[variant].budget
    if budget is not None:
        record["budget"] = budget.goal()
    return key_of(record)


def content_of(cell: Cell, policy: str, keys: Mapping[Stage, str]) -> str:
    """The identity of the delivered files: the steps' keys, the spec's names of the GPUs, and the policy."""
    return key_of([policy, list(cell.facts["gpu"]), *keys.values()])


@dataclass(slots=True)
class Delivery:
    """Delivers cells of one workspace."""

    workspace: Workspace
    specs: Mapping[str, PipelineSpec]
    observer: Observer
    targets: TargetResolver
    steps: Mapping[Address, Step] = field(default_factory=dict)
    why_not_run: WhyNotRun | None = None
    """Why an engine has not run on a GPU, where others than this machine's could run it."""
    sha256: dict[str, str] = field(default_factory=dict)
    """SHA-256 of artifacts by BLAKE3, for those that a cell needed."""
    _policies: dict[tuple[str, str], str] = field(default_factory=dict)

    def deliver(self, cell: Cell, keys: Mapping[Stage, str], *, built: bool) -> bool:
        """Put a cell's files into place; returns whether anything changed.

        Raises ValidationFailed, StoreError, or TrtpipeError when the build directory cannot be written.
        """
        spec = self.specs[cell.pipeline]
        content = content_of(cell, self._policy(cell), keys)
        state = self.workspace.state
        if state.delivered(cell.name, content):
            return False
        traces = self._traces(keys)
        with keeping_failing_inputs(self.workspace, cell, spec, traces):
            proof = self._proof(cell, traces)
        manifest = manifest_of(cell, traces, proof)
        files = self._write(cell, traces, manifest)
        # also noted while it does not exist: once it appears or changes, the cell is judged again
        files.append(self.workspace.build / cell.directory / PROOF)
        entry = {cell.name: lock_entry_of(cell, traces, proof)}
        state.remember_cell(cell.name, content, files, cell_text(entry, cell.name))
        self._tell(cell, traces, proof, built=built)
        return True

    def _policy(self, cell: Cell) -> str:
        variant = cell.pipeline, cell.variant
        if variant not in self._policies:
            self._policies[variant] = policy_of(self.specs[cell.pipeline], cell.variant)
        return self._policies[variant]

    def withdraw(self, cell: Cell) -> None:
        """Take a delivered cell back, so that nobody picks its engine up. Raises TrtpipeError."""
        path = self.workspace.build / cell.directory / MANIFEST
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            what = (error.strerror or str(error)).lower()
            raise TrtpipeError(
                Code.CANNOT_DELIVER, f"cannot take back {cell.name}: {path}: {what}", f"remove {path.parent}"
            ) from error

    def entry_of(self, cell: Cell, keys: Mapping[Stage, str]) -> dict[str, Fact]:
        """The cell's facts for the lockfile; nothing is delivered. Raises ValidationFailed, StoreError."""
        traces = self._traces(keys)
        return lock_entry_of(cell, traces, self._proof(cell, traces))

    def _traces(self, keys: Mapping[Stage, str]) -> dict[Stage, Trace]:
        return {stage: self._trace(key) for stage, key in keys.items()}

    def _proof(self, cell: Cell, traces: Mapping[Stage, Trace]) -> Proof:
        """The cell's proof, including one from a GPU if there is one of exactly this engine."""
        folder = self.workspace.build / cell.directory
        found, ignored = read_proof(folder, traces["build_engine"].outputs["model.engine"].hex)
        if ignored:
            from trtpipe.plan.events import Warned

            self.observer.emit(Warned(f"{cell.name}: {ignored}"))
        why_not = self.why_not_run or partial(not_run_here, targets=self.targets)
        return prove_cell(cell, self.specs[cell.pipeline], traces, self.workspace.store, why_not, found)

    def _trace(self, key: str) -> Trace:
        trace = self.workspace.store.trace(key)
        if trace is None:
            raise ArtifactMissing(
                Code.NO_ARTIFACT, f"the store lost the trace {key[:12]} while the build ran", "build again"
            )
        return trace

    def _write(self, cell: Cell, traces: Mapping[Stage, Trace], manifest: dict[str, Any]) -> list[Path]:
        folder = self.workspace.build / cell.directory
        plot = self._plot(traces, manifest)
        texts = {
            **({PLOT: plot} if plot else {}),
            **self._statements(cell, traces, manifest),
            "summary.md": cell_summary(manifest) + "\n",
            MANIFEST: json.dumps(manifest, indent=1, ensure_ascii=False) + "\n",
        }
        try:
            with held(self.workspace.root / STATE_DIRECTORY / "delivering.lock"):
                files = self._in_place(folder, traces, texts)
                return files or self._put(folder, traces, texts)
        except OSError as error:
            what = (error.strerror or str(error)).lower()
            raise TrtpipeError(
                Code.CANNOT_DELIVER, f"cannot deliver {cell.name} to {folder}: {what}", _remedy(error)
            ) from error

    def _statements(
        self, cell: Cell, traces: Mapping[Stage, Trace], manifest: Mapping[str, Any]
    ) -> dict[str, str]:
        """Provenance and bill of materials, by file name."""
        store, state = self.workspace.store, self.workspace.state
        return Statements(store, state, self.steps, self.sha256).texts(cell, traces, manifest)

    def _plot(self, traces: Mapping[Stage, Trace], manifest: dict[str, Any]) -> str | None:
        """The plot of a search, if possible; the manifest says where it is, or why there is none.

        Only search.json holds every point; a choice taken from the lockfile was measured elsewhere and has none.
        """
        found = traces["search"].outputs.get("search.json") if "search" in traces else None
        if found is None:
            return None
        search = json.loads(self.workspace.store.path(found).read_bytes())
        if not search.get("points"):
            return None
        drawn = pareto_svg(search)
        manifest["search"] = {**manifest["search"], "plot": PLOT if drawn else MISSING}
        return drawn

    def _in_place(
        self, folder: Path, traces: Mapping[Stage, Trace], texts: Mapping[str, str]
    ) -> list[Path] | None:
        """The files, if another build has just delivered exactly the same; else None."""
        wanted = _wanted(traces)
        try:
            if any(not same_digest(digest_file(folder / name), digest) for name, digest in wanted.items()):
                return None
            if any((folder / name).read_bytes() != text.encode() for name, text in texts.items()):
                return None
        except OSError:
            return None
        return [folder / name for name in (*wanted, *texts)]

    def _put(self, folder: Path, traces: Mapping[Stage, Trace], texts: Mapping[str, str]) -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MANIFEST).unlink(missing_ok=True)
        for name in (PLOT, "report.html", "report.json"):  # of the files that were delivered before
            (folder / name).unlink(missing_ok=True)
        files = self._artifacts(folder, traces)
        for name, text in texts.items():
            write_whole(folder / name, text.encode())
            files.append(folder / name)
        return files

    def _artifacts(self, folder: Path, traces: Mapping[Stage, Trace]) -> list[Path]:
        wanted = _wanted(traces)
        for name in (name for names in DELIVERED.values() for name in names if name not in wanted):
            with contextlib.suppress(FileNotFoundError):
                (folder / name).unlink()
        for name, digest in wanted.items():
            self.workspace.store.fetch(digest, folder / name)
        return [folder / name for name in wanted]

    def _tell(self, cell: Cell, traces: Mapping[Stage, Trace], proof: Proof, *, built: bool) -> None:
        size = format_size(traces["build_engine"].outputs["model.engine"].size)
        gpus = " ".join(cell.facts["compute_capabilities"])
        proved = f", run on {proof.gpu_words()}" if proof.run_on_gpu else ""
        about = f"{size}, {gpus}, {outcome_words(proof)}{proved}{_kept_words(traces['quantize'].summary)}"
        from trtpipe.plan.events import CellDelivered

        self.observer.emit(
            CellDelivered(
                cell.name,
                built,
                about,
                self.workspace.build / cell.directory,
                validation=proof.validation,
                audit=proof.audit,
                typed=traces["quantize"].summary.get("wide", {}),
                reach=tuple(link.to_json() for link in proof.reach),
                not_run=tuple(proof.not_run),
            )
        )


def _wanted(traces: Mapping[Stage, Trace]) -> dict[str, Digest]:
    """The artifacts that a cell's directory holds, by name."""
    found: dict[str, Digest] = {}
    for stage, names in DELIVERED.items():
        outputs = traces[stage].outputs if stage in traces else {}
        found |= {name: outputs[name] for name in names if name in outputs}
    return found


def _remedy(error: OSError) -> str:
    if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ELOOP):
        return "another file is in the way: move it away and build again; the engine need not be built again"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "the engine is in the store; make the directory writable and build again, which only copies it"
    return "the engine is in the store; free some space and build again, which only copies it"


def _kept_words(typed: Mapping[str, Any]) -> str:
    """Text that says how much is kept in float32 because it overflows on the calibration set; empty if nothing is."""
    kept = typed.get("wide", {}).get("overflow", {})
    nodes = "a node" if len(kept) == 1 else f"{len(kept)} nodes"
    return f", {nodes} kept in float32 because of their values" if kept else ""


def outcome_words(proof: Proof) -> str:
    """How far a cell is validated, as text: `validated on the CPU up to TensorRT's network`, with its accuracy."""
    words, accuracy = words_of(proof.reach), proof.validation.get("accuracy")
    if proof.validation.get("outcome") == "passed":
        words += "".join(f", as {twin}" for twin in object_in(proof.validation, "twins").values())
    return f"{words}, accuracy {accuracy:.4g}" if isinstance(accuracy, float) else words
