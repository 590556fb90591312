"""Adapts an SVG from matplotlib for inlining in a page: unique ids, the page's colours, no style attributes.

matplotlib writes colours into `style` attributes. They become presentation attributes whose values are the page's CSS
variables, so that a plot follows the page's light or dark theme and a policy that forbids inline styles holds.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from trtpipe.reports.html import Markup, escaped

_SVG = "{http://www.w3.org/2000/svg}"
_LINK = "{http://www.w3.org/1999/xlink}href"
_COLOURS = {
    "#000000": "var(--ink)",
    "#262626": "var(--ink)",
    "#1f77b4": "var(--accent)",
    "#ff7f0e": "var(--second)",
    "#7f7f7f": "var(--soft)",
    "#ffffff": "none",
    "#cccccc": "var(--line)",
}
"""Colours that a plot may use (black, white, C0, C1, C7 and the frame of a legend) -> the page's."""
_COLOURED = ("fill", "stroke")
_REFERENCE = re.compile(r"url\(#([^)]*)\)")
_FONT = re.compile(r"(?:(?P<weight>[a-z0-9]+) )?(?P<size>[\d.]+)px ")


def themed(svg: str, name: str, label: str) -> Markup:
    """The SVG as part of a page; `name` begins every id in it, `label` is its alternative in words."""
    root = ElementTree.fromstring(svg)  # noqa: S314 - our own plot, not somebody's file
    for parent in root.iter():
        for child in [one for one in parent if _left_out(one)]:
            parent.remove(child)
    for element in root.iter():
        _theme(element, name)
    view = root.get("viewBox", "0 0 1 1")
    root.attrib.clear()
    width, height = (float(size) for size in view.split()[2:])
    inner = "".join(_text(child) for child in root)
    head = f'<svg viewBox="{view}" width="{width:.0f}" height="{height:.0f}" role="img" aria-label="{escaped(label)}"'
    return Markup(f'{head} fill="var(--ink)" stroke-linejoin="round" stroke-linecap="butt">{inner}</svg>')


def _left_out(element: ElementTree.Element) -> bool:
    tag = element.tag if isinstance(element.tag, str) else ""
    return tag in (f"{_SVG}metadata", f"{_SVG}style", f"{_SVG}title") or (
        tag == f"{_SVG}g" and element.get("id") == "patch_1"  # the figure's background
    )


def _style(element: ElementTree.Element) -> None:
    """Writes a style as attributes, with the page's colours."""
    for part in element.attrib.pop("style", "").split(";"):
        field, _, value = (text.strip() for text in part.partition(":"))
        if field == "font":
            found = _FONT.match(value)
            element.set("font-size", found["size"] if found else "9")
        elif field:
            element.set(field, value)
    for field in _COLOURED:
        colour = element.get(field)
        if colour is not None:
            element.set(field, _COLOURS.get(colour.lower(), colour))


def _theme(element: ElementTree.Element, name: str) -> None:
    _style(element)
    if "id" in element.attrib:
        element.set("id", f"{name}-{element.attrib['id']}")
    link = element.attrib.pop(_LINK, "")
    if link:
        element.set("href", f"#{name}-{link[1:]}")
    for field, value in element.attrib.items():
        if "url(#" in value:
            element.set(field, _REFERENCE.sub(rf"url(#{name}-\1)", value))


def _text(element: ElementTree.Element) -> str:
    """The element as SVG inside HTML, which knows the namespace already; the text between elements is layout only."""
    for one in element.iter():
        if isinstance(one.tag, str):
            one.tag = one.tag.removeprefix(_SVG)
        one.tail = None
    return ElementTree.tostring(element, encoding="unicode")
