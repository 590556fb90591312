"""A plan as a layered graph in SVG, inputs to the left. Large plans show one node for each stage.

Edges may span several layers; nodes of a layer keep the plan's order. Each graph has a table with the same content next
to it, for screen readers and text search.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from trtpipe.plan.address import Place
from trtpipe.reports.html import Content, Markup, el, joined, scrolling, status, table
from trtpipe.reports.models import StepRecord
from trtpipe.reports.shares import Share
from trtpipe.reports.words import clipped, plural, seconds_words, shortened

MOST_NODES = 24
"""Steps of a pipeline that are drawn one by one."""
_MOST_ROWS = 300
_MOST_OPEN = 8
_WIDE, _HIGH, _GAP_X, _GAP_Y = 190, 40, 46, 12
_KINDS = {
    "ran": "new", "run": "new", "restore": "new", "failed": "bad", "not run": "mute", "pending": "mute",
    "up to date": "plain",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Node:
    """A box: two lines of text, a kind that colours it, and the names of the boxes that it needs."""

    name: str
    label: str
    below: str
    kind: str
    needs: tuple[str, ...]


def plan_section(shares: Sequence[Share]) -> Markup:
    """Every pipeline's steps, drawn and listed; idle plans, and all if there are many, are collapsed."""
    planned = [share for share in shares if share.plan]
    few = len(planned) <= _MOST_OPEN
    return joined(el("details", Markup(share.plan), open=few and not share.is_idle) for share in planned)


def is_idle(steps: Sequence[StepRecord]) -> bool:
    """Whether every step is up to date."""
    return all(step.state == "up to date" for step in steps)


def pipeline_part(name: str, steps: Sequence[StepRecord]) -> Markup:
    """What is shown of a pipeline."""
    told = Counter(step.state for step in steps)
    words = ", ".join(f"{count} {state}" for state, count in told.items())
    summary = el(
        "summary", el("h3", name), " ", el("span", f"{plural(len(steps), 'step')}: {words}", class_="soft")
    )
    nodes = [_step_node(step) for step in steps] if len(steps) <= MOST_NODES else _stage_nodes(steps)
    graph = scrolling(graph_svg(nodes, f"Graph of {name}: {words}; listed below"), f"Graph of {name}")
    listed = el("details", el("summary", f"The steps of {name} as a table"), _step_table(name, steps))
    return joined([summary, el("div", graph, class_="graph"), listed])


def _step_table(name: str, steps: Sequence[StepRecord]) -> Markup:
    rows: list[list[Content]] = [
        [
            el("code", shortened(step.address)),
            status(step.state),
            seconds_words(step.seconds),
            shortened(step.why, 300),
        ]
        for step in steps[:_MOST_ROWS]
    ]
    more = len(steps) - _MOST_ROWS
    rest = el("p", f"{plural(more, 'more step')} in report.json.", class_="soft") if more > 0 else None
    return joined(
        [table(("step", "state", "took", "why"), rows, caption=f"Steps of {name}", numeric=(2,)), rest]
    )


def _step_node(step: StepRecord) -> Node:
    place = Place.of_step(step.address)
    inside = f"{place.variant}@{place.target}" if place.target else place.variant
    label = f"{step.stage} {inside}".strip()
    took = f", {seconds_words(step.seconds)}" if step.seconds is not None else ""
    return Node(
        step.address,
        label,
        f"{step.state}{took}",
        _KINDS.get(step.state, "plain"),
        tuple(step.needs),
    )


def _stage_nodes(steps: Sequence[StepRecord]) -> list[Node]:
    """A node for each stage, with the number of its steps in each state."""
    stages: dict[str, list[StepRecord]] = {}
    for step in steps:
        stages.setdefault(step.stage, []).append(step)
    stage_of = {step.address: step.stage for step in steps}
    nodes = []
    for stage, own in stages.items():
        told = Counter(step.state for step in own)
        needs = dict.fromkeys(stage_of[up] for step in own for up in step.needs if up in stage_of)
        kinds = [_KINDS.get(state, "plain") for state in told]
        kind = next((one for one in ("bad", "new", "mute") if one in kinds), "plain")
        words = ", ".join(f"{count} {state}" for state, count in told.items())
        nodes.append(
            Node(stage, f"{stage} x {len(own)}", words, kind, tuple(one for one in needs if one != stage))
        )
    return nodes


def graph_svg(nodes: Sequence[Node], label: str) -> Markup:
    """The graph, layered from left to right."""
    layers = _layers(nodes)
    columns: dict[int, list[Node]] = {}
    for node in nodes:
        columns.setdefault(layers[node.name], []).append(node)
    places = {
        node.name: (column * (_WIDE + _GAP_X), row * (_HIGH + _GAP_Y))
        for column, own in columns.items()
        for row, node in enumerate(own)
    }
    width = len(columns) * (_WIDE + _GAP_X) - _GAP_X + 2
    height = max(len(own) for own in columns.values()) * (_HIGH + _GAP_Y) - _GAP_Y + 2
    edges = "".join(
        _edge(places[up], places[node.name]) for node in nodes for up in node.needs if up in places
    )
    return el(
        "svg",
        el("path", d=edges, class_="edge") if edges else None,
        *(_box(node, *places[node.name]) for node in nodes),
        viewBox=f"-1 -1 {width} {height}",
        width=width,
        height=height,
        role="img",
        aria_label=label,
    )


def _layers(nodes: Sequence[Node]) -> dict[str, int]:
    """The length of the longest path to each node from a node without inputs; plans are in topological order."""
    found: dict[str, int] = {}
    for _ in range(len(nodes)):
        before = dict(found)
        for node in nodes:
            found[node.name] = max((found.get(up, -1) + 1 for up in node.needs if up in found), default=0)
        if found == before:
            break
    used = sorted(set(found.values()))
    return {name: used.index(layer) for name, layer in found.items()}


def _edge(start: tuple[int, int], end: tuple[int, int]) -> str:
    x, y = start[0] + _WIDE, start[1] + _HIGH // 2
    to_x, to_y = end[0], end[1] + _HIGH // 2
    bend = _GAP_X * 2 // 3
    return f"M{x} {y}C{x + bend} {y} {to_x - bend} {to_y} {to_x} {to_y}"


def _box(node: Node, x: int, y: int) -> Markup:
    return el(
        "g",
        el("title", f"{shortened(node.name)}: {node.below}"),
        el("rect", x=x, y=y, width=_WIDE, height=_HIGH, rx=4, class_=f"node {node.kind}"),
        el("text", clipped(node.label, 27), x=x + 9, y=y + 17, class_="label"),
        el("text", clipped(node.below, 31), x=x + 9, y=y + 32, class_="sub"),
    )
