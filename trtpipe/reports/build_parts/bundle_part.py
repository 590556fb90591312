"""The part of a build's report about bundles: their members, the verdict on the whole, and what each member costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trtpipe.reports.html import Markup, code, el, joined, status, table
from trtpipe.reports.models import BundleRecord, BundleTarget

_MOST = 200


def bundle_section(bundles: Sequence[BundleRecord]) -> Markup:
    """The bundles of a page."""
    return joined(part for one in bundles[:_MOST] for part in _bundle(one))


def _bundle(bundle: BundleRecord) -> Iterator[Markup]:
    yield el("h3", code(bundle.bundle), " ", status(bundle.state))
    yield from (el("p", why) for why in bundle.why[:20])
    if not bundle.targets:
        return
    members = list(bundle.targets[0].members)
    rows = [
        [
            code(one.target),
            *(code(one.members[name]) for name in members),
            one.outcome,
            one.on_gpu,
            "; ".join(one.not_run),
        ]
        for one in bundle.targets
    ]
    yield table(
        ["target", *members, "the whole", "on a GPU", "not run"], rows, caption=f"Members of {bundle.bundle}"
    )
    costs = bundle.targets[0].costs
    if costs:
        yield el(
            "p", "What each member's precision costs: the error of its worst output, with and without it."
        )
        told = [
            [code(one.member), code(one.output), f"{one.error:.3g}", f"{one.without:.3g}", f"{one.share:.0%}"]
            for one in costs
        ]
        header = ["member", "worst output", "error", "without it", "share"]
        yield table(header, told, caption=f"Costs in {bundle.bundle}")


def bundle_rows(bundles: Sequence[BundleRecord]) -> Iterator[tuple[str, str, str, str]]:
    """For Markdown: bundle, its state, the verdicts by target, the member that costs most."""
    for one in bundles[:_MOST]:
        verdicts = ", ".join(f"{target.target}: {_words(target)}" for target in one.targets)
        yield one.bundle, one.state, verdicts or "; ".join(one.why), _dearest(one.targets)


def _words(target: BundleTarget) -> str:
    return target.outcome if target.on_gpu == "not run" else f"{target.outcome}, engines on {target.on_gpu}"


def _dearest(targets: Sequence[BundleTarget]) -> str:
    costs = targets[0].costs if targets else ()
    return f"{costs[0].member} ({costs[0].share:.0%} of {costs[0].output}'s error)" if costs else ""
