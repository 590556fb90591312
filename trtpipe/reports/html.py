"""Builds HTML in which every text is escaped; only elements created by this module are markup.

Names from models and specs may contain anything: tags, quotes, control characters, bidirectional text marks.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from functools import lru_cache

from trtpipe.text.tables import one_line

_VOID = frozenset({"meta", "link", "br", "input"})
_SHAPES = frozenset({"rect", "path", "circle"})
"""Of SVG: closed in their own tag, as its part of HTML wants it."""
Attribute = str | int | float | bool | None


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Content = str | Markup | None


@lru_cache(maxsize=1 << 14)  # the cells of a build have most of their words in common
def escaped(text: str) -> str:
    """The text as HTML shows it: on one line, control characters as their escapes."""
    return html.escape(text if text.isprintable() else one_line(text))


def el(tag: str, *children: Content, **attributes: Attribute) -> Markup:
    """An element. `class_` is class, `data_v` is data-v; an attribute that is None or False is left out."""
    parts = [f"<{tag}"]
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        shown = name.rstrip("_").replace("_", "-")
        parts.append(f" {shown}" if value is True else f' {shown}="{escaped(str(value))}"')
    parts.append("/>" if tag in _SHAPES else ">")
    if tag in _VOID or tag in _SHAPES:
        return Markup("".join(parts))
    parts += [
        child if isinstance(child, Markup) else escaped(child) for child in children if child is not None
    ]
    return Markup("".join([*parts, f"</{tag}>"]))


def joined(parts: Iterable[Content], between: str = "") -> Markup:
    """Several pieces as one."""
    return Markup(
        between.join(one if isinstance(one, Markup) else escaped(one) for one in parts if one is not None)
    )


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[Content]],
    *,
    caption: str,
    numeric: Sequence[int] = (),
    hidden_caption: bool = True,
) -> Markup:
    """A table in a region with its own scroll bar; the first column is a row header, `numeric` columns are right-
    aligned.
    """
    kinds = ["num" if index in numeric else None for index in range(len(header))]
    head = el(
        "tr", *(el("th", name, scope="col", class_=kind) for name, kind in zip(header, kinds, strict=True))
    )
    body = [
        el(
            "tr",
            el("th", row[0], scope="row"),
            *(el("td", one, class_=kind) for one, kind in zip(row[1:], kinds[1:], strict=True)),
        )
        for row in rows
    ]
    shown = el("caption", caption, class_="hush" if hidden_caption else None)
    return scrolling(el("table", shown, el("thead", head), el("tbody", *body)), caption)


def scrolling(content: Markup, label: str) -> Markup:
    """Content that may be wider than the page, in a region that can be scrolled with the keyboard."""
    return el("div", content, class_="scroll", role="region", aria_label=label, tabindex=0)


def facts(pairs: Iterable[tuple[str, Content]]) -> Markup:
    """Names and values as a description list."""
    return el("dl", *(el("div", el("dt", name), el("dd", value)) for name, value in pairs), class_="facts")


def code(text: str) -> Markup:
    """A name or a digest."""
    return el("code", text)


_MARKS = {"passed": "yes", "failed": "no", "not run": "open", "proved": "yes", "not proved": "open"}
"""Words that have a mark before them, which the style draws: it stands in for nothing and is spoken by nobody."""
_KINDS = {
    "passed": "good", "failed": "bad", "not run": "mute", "built": "new", "restored": "new", "not built": "mute",
    "ran": "new", "run": "new", "restore": "new", "pending": "mute", "complete": "good",
    "proved": "good", "not proved": "mute", "within": "good", "over": "mute", "interrupted": "bad",
}  # fmt: skip


@lru_cache(maxsize=1 << 10)
def status(word: str, more: str = "") -> Markup:
    """A state as a word, with a mark and a colour that repeat its meaning."""
    said = f"{word} {more}".strip()
    kind = f"{_MARKS.get(word, '')} {_KINDS.get(word, 'plain')}".strip()
    return el("span", said, class_=f"status {kind}")
