"""Runs cases of one reader, one after another, in a process that may die of them.

    python fuzz_child.py READER SEED FIRST

Before each case its number is printed, after it what came of it: `ok`, `refused`, or `failed` and why. Address space
is bounded: what a file merely claims must not be allocated.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import resource
import sys
import tempfile
import traceback
import warnings
from itertools import count
from pathlib import Path

from tests.fuzz.fuzz_readers import READERS, Files, Reader
from tests.fuzz.mutations import mutated

_MORE_MEMORY = 512 << 20
_LARGEST_FILE = 512 << 20


def case_of(reader: Reader, corpus: list[Files], name: str, seed: int, number: int) -> dict[str, bytes]:
    """The files of a case."""
    rng = random.Random(f"{seed}:{name}:{number}")
    files = dict(rng.choice(corpus))
    others = [one[reader.damaged] for one in corpus]
    files[reader.damaged] = mutated(rng, files[reader.damaged], others)
    return files


def outcome(reader: Reader, files: Files) -> str:
    """What comes of reading the files."""
    from trtpipe.errors import TrtpipeError

    with tempfile.TemporaryDirectory() as folder:
        for name, data in files.items():
            Path(folder, name).write_bytes(data)
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                reader.read(Path(folder))
        except TrtpipeError:
            return "refused"
        except BaseException:  # this is what is looked for
            return "failed " + traceback.format_exc().replace("\n", "\\n")
    return "ok"


def _bound_memory() -> None:
    size = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (size + _MORE_MEMORY, size + _MORE_MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_LARGEST_FILE, _LARGEST_FILE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> None:
    """Cases without end; whoever started this ends it."""
    name, seed, first = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    warnings.simplefilter("error")
    reader = READERS[name]
    corpus = reader.corpus()
    for files in corpus:
        outcome(reader, files)  # imports what reading imports, before memory is bounded
    _bound_memory()
    for number in count(first):
        print(number, flush=True)
        print(outcome(reader, case_of(reader, corpus, name, seed, number)), flush=True)


if __name__ == "__main__":
    main()
