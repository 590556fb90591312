"""What the Markdown pages of the repository show: code blocks, the commands in them, links, and headings' anchors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!\\)\]\(<?([^()\s>]+)>?(?: \"[^\"]*\")?\)")
_SAME = (
    (re.compile(r"\b[0-9a-f]{12,64}\b"), "DIGEST"),
    (re.compile(r"\b\d+(\.\d+)? s\b"), "TIME"),
    (re.compile(r"\b\d+(\.\d+)? ([KMG]i)?(B|bytes)(?!\w)"), "SIZE"),
    (re.compile(r"\b\d+\.\d+\.\d+\.\d+\b"), "VERSION"),
    (re.compile(r"(needs sm\d+), [^)\n]*"), r"\1"),
    (re.compile(r" {2,}(?=\S)"), "  "),  # a column is as wide as the longest digest or size in it
)


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    text: str


class Command(NamedTuple):
    """A command as a page shows it, behind `$ `, and what the page says that it prints."""

    line: str
    printed: str


def blocks_of(page: Path, *languages: str) -> list[Block]:
    """The code blocks of these languages, in order."""
    found = [Block(*one) for one in _FENCED.findall(page.read_text(encoding="utf-8"))]
    return [one for one in found if one.language in languages]


def commands_in(block: str) -> list[Command]:
    """The commands of a `console` block."""
    return [Command(*one) for one in re.findall(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)]


def without_what_varies(text: str) -> str:
    """Text in which digests, times, sizes, TensorRT's version and this machine's GPU read alike wherever it ran."""
    for pattern, same in _SAME:
        text = pattern.sub(same, text)
    return text


def shows(page: str, printed: str) -> bool:
    """Whether a page shows what was printed: `…` on a line of its own stands for any lines, none included."""
    parts = without_what_varies(page).split("…\n")
    pattern = r"(?:.*\n)*".join(re.escape(part) for part in parts)
    return re.fullmatch(pattern, without_what_varies(printed)) is not None


def without_code(page: Path) -> str:
    """A page's prose: no blocks, no inline code."""
    return re.sub(r"`[^`\n]*`", "", _FENCED.sub("", page.read_text(encoding="utf-8")))


def links_of(page: Path) -> Iterator[str]:
    """Where the links of a page lead, apart from those that leave the repository."""
    for link in _LINK.findall(_FENCED.sub("", page.read_text(encoding="utf-8"))):
        if not re.match(r"[a-z][a-z+.-]*:", link):
            yield link


def anchors_of(page: Path) -> set[str]:
    """The anchors that headings have, as GitHub and mkdocs name them."""
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
        anchor = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        number = 1
        unique = anchor
        while unique in found:
            unique, number = f"{anchor}-{number}", number + 1
        found.add(unique)
    return found
