"""A delivered cell as a package needs it: its files in `build/`, checked against their manifest and the lockfile.

Nothing is built, and nothing is taken from the store: what is not delivered as the lockfile says is an error that names
the command.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from trtpipe.delivery.origin_files import BILL, PROVENANCE
from trtpipe.errors import ModelError, PackageError, Problem
from trtpipe.json_values import (
    JsonObject,
    flag_in,
    integer_in,
    integers_in,
    object_in,
    objects_in,
    text_in,
    texts_in,
)
from trtpipe.lockfile import Entry
from trtpipe.packages.index import PackedEngine, Tensor
from trtpipe.plan.address import Place
from trtpipe.problem_codes import Code
from trtpipe.provenance.manifest import gpu_words
from trtpipe.runners.inference.delivered import ENGINE, MANIFEST, read_manifest
from trtpipe.targets.compute_capability import ComputeCapability
from trtpipe.targets.toolchain import LEAST_DRIVER

MODEL, EXTERNAL_DATA = "model.onnx", "model.onnx.data"
_OF_ONE_BUILD = frozenset({"timings", "peak_rss", "not_run"})
"""What a manifest tells of the machine that built: left out, so that two machines make the same package."""
_OLDEST_DRIVER = str(LEAST_DRIVER[12])
"""Every TensorRT that trtpipe knows exists for CUDA 12."""
_ARM = frozenset({"8.7", "11.0", "12.1"})
"""Compute capabilities of GPUs that stand beside an ARM processor: Jetson Orin, Thor, DGX Spark."""


@dataclass(frozen=True)
class BuiltCell:
    """One delivered cell; its files were not read yet."""

    name: str
    folder: Path
    manifest: JsonObject

    @property
    def place(self) -> Place:
        """Its pipeline, variant and target."""
        return Place.parse(self.name)

    @property
    def engine(self) -> Path:
        """The engine's file."""
        return self.folder / ENGINE

    def engine_blake3(self) -> str:
        """The engine's digest according to the manifest. Raises Malformed."""
        return text_in(object_in(self.manifest, "engine"), "blake3")

    @cached_property
    def model_files(self) -> Mapping[str, str]:
        """The typed model's files → their BLAKE3 according to the manifest. Raises Malformed."""
        model = object_in(self.manifest, "model")
        return {
            name: text_in(object_in(model, name), "blake3")
            for name in (MODEL, EXTERNAL_DATA)
            if name in model
        }

    def packaged_manifest(self) -> bytes:
        """The manifest without what would differ on the next machine that builds the same."""
        kept = {name: value for name, value in self.manifest.items() if name not in _OF_ONE_BUILD}
        return (json.dumps(kept, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()

    def tensors(self, mode: str) -> tuple[Tensor, ...]:
        """The engine's inputs, or its outputs. Raises Malformed."""
        return tuple(
            Tensor(
                text_in(one, "name"),
                text_in(one, "dtype"),
                tuple(integers_in(one, "shape")),
                flag_in(one, "shape_tensor"),
            )
            for one in objects_in(self.manifest, "io")
            if text_in(one, "mode") == mode
        )

    def packed(self, folder: str) -> PackedEngine:
        """Its entry in the index, with its files in that folder of the package. Raises Malformed."""
        manifest, place = self.manifest, self.place
        toolchain = object_in(manifest, "toolchain")
        options = object_in(object_in(self._step(), "fingerprint"), "options")
        gpu = object_in(options, "gpu") if options.get("gpu") else {}
        sms = [ComputeCapability.parse(one) for one in texts_in(manifest, "compute_capabilities")]
        capabilities = tuple(map(str, sorted(sms)))
        return PackedEngine(
            cell=self.name,
            target=place.target,
            variant=place.variant,
            file=f"{folder}/{ENGINE}",
            flavour=text_in(toolchain, "flavour"),
            tensorrt=text_in(toolchain, "version"),
            compute_capabilities=capabilities,
            gpu=text_in(gpu, "name") if "name" in gpu else None,
            hardware_compatibility=str(options.get("hardware_compatibility") or "none"),
            version_compatible=options.get("version_compatible") is True,
            **self._platform(capabilities),
            driver=_OLDEST_DRIVER,
            device_memory=self._weights(),
            inputs=self.tensors("input"),
            outputs=self.tensors("output"),
            profiles=tuple(objects_in(manifest, "profiles")),
            validated=_words(object_in(manifest, "validation").get("outcome")),
            run_on_gpu=gpu_words(object_in(manifest, "run_on_gpu") if "run_on_gpu" in manifest else {}),
            plugins=self._plugins(),
            manifest=f"{folder}/{MANIFEST}",
            provenance=f"{folder}/{PROVENANCE}",
            bom=f"{folder}/{BILL}",
        )

    def _step(self) -> JsonObject:
        return object_in(object_in(self.manifest, "steps"), "build_engine")

    def _platform(self, capabilities: Sequence[str]) -> dict[str, str | None]:
        """The system that an engine of the flavour tensorrt needs, as far as the manifest tells."""
        if text_in(object_in(self.manifest, "toolchain"), "flavour") == "tensorrt_rtx":
            return {"os": None, "architecture": None}  # its engines run on any system
        built = object_in(self.manifest, "engine")
        proved = object_in(self.manifest, "run_on_gpu") if "run_on_gpu" in self.manifest else {}
        machine = object_in(proved, "machine") if proved.get("machine") else {}
        if "platform" in built:  # an older trtpipe recorded where an engine ran, and not where it was built
            machine = object_in(built, "platform")
        arm = "aarch64" if _ARM.issuperset(capabilities) else None
        system, architecture = machine.get("system"), machine.get("architecture")
        return {
            "os": {"linux": "linux", "win32": "windows"}.get(str(system)),
            "architecture": arm if architecture is None else str(architecture).replace("AMD64", "x86_64"),
        }

    def _weights(self) -> int | None:
        header = object_in(self.manifest, "engine").get("header")
        return integer_in(header, "weight_bytes") if isinstance(header, Mapping) else None

    def _plugins(self) -> tuple[str, ...]:
        """The names of the plugin libraries that its key has."""
        inputs = object_in(object_in(self._step(), "fingerprint"), "inputs")
        found = object_in(inputs, "plugins") if "plugins" in inputs else {}
        return tuple(sorted(name.rpartition("/")[2] for name in found))


def built_cells(names: Sequence[str], build: Path, lock: Mapping[str, Entry]) -> tuple[BuiltCell, ...]:
    """These cells as they are delivered. Raises PackageError that names all that are not, and the command."""
    found: list[BuiltCell] = []
    wrong: dict[str, str] = {}
    for name in names:
        cell = _built(name, build)
        if isinstance(cell, BuiltCell):
            found.append(cell)
            locked = str(lock.get(name, {}).get("engine", "")).partition(" ")[0]
            if locked and locked != cell.engine_blake3():
                wrong[name] = f"{name} in {build.name}/ has another engine than the lockfile"
        else:
            wrong[name] = cell
    if wrong:
        more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        fact, details = next(iter(wrong.values())), "\n".join(wrong.values()) if more else ""
        remedy = f"run `trtpipe build {' '.join(wrong)}`"
        raise PackageError(Problem(Code.NOT_BUILT, f"{fact}{more}", remedy, details=details))
    return tuple(found)


def _built(name: str, build: Path) -> BuiltCell | str:
    """The cell, or why it is none."""
    folder = build / name
    try:
        manifest = read_manifest(folder / MANIFEST)
        if manifest is None:
            return f"{name} is not built"
        if text_in(manifest, "cell") != name:
            return f"{folder} holds another cell"
        cell = BuiltCell(name, folder, manifest)
        cell.packed("")
        assert cell.model_files
        return cell
    except (ModelError, ValueError) as error:
        why = error.problems[0].fact if isinstance(error, ModelError) else str(error)
        return f"the manifest of {name} is damaged: {why}"


def _words(outcome: object) -> str:
    return str(outcome or "not run").replace("_", " ")
