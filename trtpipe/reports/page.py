"""The frame of an HTML page: one self-contained file that opens from disk and may load nothing.

Its content security policy allows the inline style and script by their digests only, so that injected code cannot run.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files

from trtpipe.reports.html import Content, Markup, el, joined

_THEMES = (("auto", "Auto"), ("light", "Light"), ("dark", "Dark"))


def page(title: str, lead: Content, sections: list[tuple[str, str, Markup]]) -> str:
    """A whole page. `sections` are (id, heading, content), listed in the navigation at the top."""
    style, script = asset("report.css"), asset("report.js")
    links = [el("li", el("a", heading, href=f"#{name}")) for name, heading, _ in sections]
    body = [
        el(
            "section",
            el("h2", heading, id=f"{name}-heading"),
            content,
            id=name,
            aria_labelledby=f"{name}-heading",
        )
        for name, heading, content in sections
    ]
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            _head(title, style, script),
            "<body>",
            el("a", "Skip to the content", href="#content", class_="skip"),
            el("header", el("div", el("h1", title), lead), _themes(), class_="top"),
            el("nav", el("ul", *links), aria_label="Sections"),
            el("main", joined(body, "\n"), id="content", tabindex=-1),
            Markup(f"<script>{script}</script>"),
            "</body>",
            "</html>",
            "",
        ]
    )


def _head(title: str, style: str, script: str) -> Markup:
    policy = (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    return el(
        "head",
        el("meta", charset="utf-8"),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("meta", name="referrer", content="no-referrer"),
        el("title", f"{title} · trtpipe"),
        el("link", rel="icon", href="data:,"),
        Markup(f"<style>{style}</style>"),
    )


def _themes() -> Markup:
    """The switch between light and dark; it needs the script, which shows it."""
    choices = [
        el(
            "label",
            el("input", type="radio", name="theme", value=name, checked=name == "auto"),
            el("span", label),
        )
        for name, label in _THEMES
    ]
    return el(
        "fieldset", el("legend", "Theme"), *choices, class_="themes", data_needs_script=True, hidden=True
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def asset(name: str) -> str:
    """A file that is part of every page."""
    return (files("trtpipe.reports") / "assets" / name).read_text(encoding="utf-8").strip()
