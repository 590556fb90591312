"""TensorRT's timing caches: kernel timings measured on one GPU model with one TensorRT version, kept for reuse.

    timing/NAME/DIGEST.cache      NAME contains version and GPU, DIGEST is the BLAKE3 of the bytes

Builds that run at the same time each add a file; the next build takes all of them and replaces them by one that holds
everything, so that nothing is lost and no build waits for another. Timing caches are in no key, and all may be deleted.
Only TensorRT can read or merge the files.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from trtpipe.digests import digest_file
from trtpipe.files import held, write_whole

FOLDER = "timing"
_SUFFIX = ".cache"
_MOST_FILES = 64
_MOST_BYTES = 1 << 30


def cache_name(version: str, gpu: str) -> str:
    """The folder for one version and one GPU model."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", f"{version}-{gpu}")[:200]


@dataclass(frozen=True, slots=True)
class TimingCaches:
    """The timing caches of one store. In a read-only store they are skipped, because they only save time."""

    root: Path

    def take(self, name: str, scratch: Path) -> list[Path]:
        """Copies of all caches of that name in `scratch`; damaged ones are removed from the store."""
        found: list[Path] = []
        with contextlib.suppress(OSError), held(self._lock(name)):
            for path in sorted((self.root / FOLDER / name).glob(f"*{_SUFFIX}"))[:_MOST_FILES]:
                if path.stat().st_size > _MOST_BYTES or digest_file(path).hex != path.stem:
                    path.unlink()
                    continue
                found.append(Path(shutil.copyfile(path, scratch / f"timing-{path.name}")))
        return found

    def give(self, name: str, grown: Path, taken: Collection[Path]) -> None:
        """Store a cache that contains the taken ones and the new measurements, and remove the taken ones."""
        with contextlib.suppress(OSError), held(self._lock(name)):
            folder = self.root / FOLDER / name
            folder.mkdir(parents=True, exist_ok=True)
            target = folder / f"{digest_file(grown).hex}{_SUFFIX}"
            if not target.exists():
                write_whole(target, grown.read_bytes(), durable=False)
            for path in taken:
                old = folder / path.name.removeprefix("timing-")
                if old != target:
                    old.unlink(missing_ok=True)

    def _lock(self, name: str) -> Path:
        return self.root / FOLDER / f"{name}.lock"
