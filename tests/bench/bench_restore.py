"""Restoring artifacts from a local store beside copying them: `python -m tests.bench.bench_restore`.

The user's own store knows what it has verified; another one reads each artifact again, by digest. Beside them: `cp` and
`shutil.copyfile` with a flush, which is what a restored copy that is whole costs without a store; `cp --reflink=always`
and `ln` where the file system has them. Every side restores the same files, in turns, each time to a new directory.

Not a test. Options: --mib (1024), --files (4), --rounds (5).
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path

from tests.bench.timing import interleaved, keep_stores_apart
from trtpipe.digests import Digest
from trtpipe.stores.local import LocalStore
from trtpipe.stores.verified_files import VerifiedFiles


def filled(store: LocalStore, files: int, size: int) -> list[Digest]:
    digests = []
    for _ in range(files):
        with store.scratch() as scratch:
            with (scratch / "x").open("wb") as file:
                for _ in range(0, size, 1 << 20):
                    file.write(os.urandom(1 << 20))
            digests.append(store.put(scratch / "x"))
    return digests


def fresh(out: Path) -> Path:
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    return out


def copied(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    with target.open("rb") as file:
        os.fsync(file.fileno())


def works(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def main() -> None:
    keep_stores_apart()
    parser = argparse.ArgumentParser()
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--files", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-restore-", dir=Path.cwd()) as folder:
        root = Path(folder)
        store = LocalStore(root / "store")
        own = LocalStore(root / "own")
        own.verified = VerifiedFiles(root / "verified")
        size = (asked.mib << 20) // asked.files
        kept = {one: filled(one, asked.files, size) for one in (own, store)}
        sources = [str(store.object_path(digest)) for digest in kept[store]]

        numbers = count()

        def restore(store: LocalStore, link: bool) -> Callable[[], None]:
            def run() -> None:
                # Links stay: removing one changes the file's change time, as writing to it would.
                out = fresh(root / (f"linked{next(numbers)}" if link else "restored"))
                for digest in kept[store]:
                    store.fetch(digest, out / digest.hex, link=link)

            return run

        def command(*words: str) -> Callable[[], None]:
            def run() -> None:
                subprocess.run([*words, *sources, str(fresh(root / words[-1].strip("-")))], check=True)

            return run

        def copy() -> None:
            out = fresh(root / "copied")
            for source in sources:
                copied(Path(source), out / Path(source).name)

        sides = {
            "the user's store, linked": restore(own, True),
            "the user's store, copied": restore(own, False),
            "another store, linked": restore(store, True),
            "another store, copied": restore(store, False),
            "cp": command("cp", "--reflink=never"),
            "shutil.copyfile, flushed": copy,
        }
        if works("cp", "--reflink=always", sources[0], str(root / "clone")):
            sides["cp --reflink=always"] = command("cp", "--reflink=always")
        if works("ln", sources[0], str(root / "link")):
            sides["ln"] = command("ln")
        for name, seconds in zip(sides, interleaved(asked.rounds, *sides.values()), strict=True):
            shown = " ".join(f"{one:.2f}" for one in sorted(seconds))
            print(f"{name:34} {statistics.median(seconds):7.3f} s   ({shown})")


if __name__ == "__main__":
    main()
