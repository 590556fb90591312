"""What the scripts here have in common as commands: their options, where they work, and where their results go."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.conformance.children import sample

_OPTIONS = {
    "--json": {"type": Path, "metavar": "FILE", "help": "write every result to FILE"},
    "--write": {"action": "store_true", "help": "write the results into the repository"},
    "--work": {"type": Path, "metavar": "FOLDER", "help": "keep models and results there"},
    "--sample": {"type": int, "default": 0, "metavar": "N", "help": "only N cases, always the same"},
    "--only": {"nargs": "+", "metavar": "NAME", "help": "only these cases"},
    "--toolchain": {"default": "1.7.1.116=", "metavar": "VERSION=SITE", "help": "which TensorRT-RTX"},
}


def parser_of(doc: str | None, *options: str, jobs: int = 0) -> argparse.ArgumentParser:
    """A parser with a script's docstring as its help, these of the shared options, and `--jobs` with this default."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in options:
        parser.add_argument(name, **_OPTIONS[name])
    if jobs:
        parser.add_argument(
            "--jobs", type=int, default=jobs, metavar="N", help=f"children at once (default {jobs})"
        )
    return parser


def chosen_names(names: Sequence[str], arguments: argparse.Namespace) -> Sequence[str]:
    """The cases that `--only` and `--sample` leave."""
    names = [name for name in names if name in set(arguments.only)] if arguments.only else names
    return sample(names, arguments.sample) if arguments.sample else names


@contextlib.contextmanager
def work_folder(given: Path | None) -> Iterator[Path]:
    """The folder of `--work`, or one for as long as the script works."""
    with tempfile.TemporaryDirectory() as folder:
        work = given or Path(folder)
        work.mkdir(exist_ok=True, parents=True)
        yield work


def write_or_print(text: str, file: Path, *, write: bool) -> None:
    """Where the results go, by `--write`."""
    if write:
        file.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text + "\n")
