"""`trtpipe which`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from trtpipe.cli.output import EXIT_DONE, EXIT_FAILED, say, say_json
from trtpipe.shapes import format_size

if TYPE_CHECKING:
    from trtpipe.app.look.which import Identity

_TITLES = {
    "manifest": "the manifest beside it",
    "build": "the build directory",
    "lockfile": "the lockfile",
    "store": "the store",
}


def which_command(asked: str, *, as_json: bool) -> int:
    """Print what is known about an engine. 1 when nothing is known."""
    from trtpipe.app.look.which import identify

    found = identify(asked)
    if as_json:
        say_json(found.to_json())
    else:
        for line in _lines(found):
            say(line)
    return EXIT_DONE if found.known else EXIT_FAILED


def _lines(found: Identity) -> Iterator[str]:
    size = f", {format_size(found.nbytes)}" if found.nbytes is not None else ""
    yield f"{found.asked}{size}"
    yield _line("blake3", found.blake3)
    if not found.known:
        yield _line(
            "cell", "unknown: no manifest, lockfile, trace or commit on this machine contains this digest"
        )
    for cell in found.cells:
        yield _line("cell", cell)
    for spec in found.specs.values():
        yield _line("spec", spec)
    for bundle in found.bundles:
        yield _line("bundle", bundle)
    yield from _facts(found)
    for place in found.places:
        named = f" ({place.cell})" if len(found.cells) > 1 else ""
        yield _line("found in", f"{_TITLES[place.where]}: {place.at}{named}")
    for commit in found.commits:
        what = "" if commit.cells else " (removed from the lockfile)"
        yield _line("commit", f"{commit.hash[:12]} {commit.date} {commit.subject}{what}")
    for note in found.notes:
        yield _line("note", note)


def _facts(found: Identity) -> Iterator[str]:
    """The key, TensorRT, the GPUs and the report, from the first place that has them; else from the engine's header."""
    merged: dict[str, object] = {}
    for place in found.places:
        merged = {**{name: value for name, value in place.facts.items() if value}, **merged}
    for name, title in (
        ("key", "key"),
        ("toolchain", "built by"),
        ("precision", "precision"),
        ("compute_capabilities", "runs on"),
        ("report", "report"),
    ):
        if name in merged:
            yield _line(title, _text(merged[name]))
    if found.header and "toolchain" not in merged:
        yield _line("header", f"TensorRT {found.header['version']}, {_text(found.header['capabilities'])}")


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return " ".join(str(value[name]) for name in ("flavour", "version", "python") if name in value)
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _line(title: str, text: str) -> str:
    return f"  {title:<10} {text}"
