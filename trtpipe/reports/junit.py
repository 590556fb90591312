"""A build as JUnit XML: a test suite for each pipeline and bundle, a test case for each cell and each threshold.

Checks that did not run are reported as skipped with a reason, never as passed. Control characters, which XML does not
allow, are escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from xml.sax.saxutils import escape, quoteattr

from trtpipe.figures import figure_beside
from trtpipe.metrics.reach import PARTS
from trtpipe.reports.models import BundleRecord, CellRecord, OnGpu
from trtpipe.reports.part_models import Link, Verdict
from trtpipe.reports.shares import Share, Tests
from trtpipe.reports.words import bound_words, number_words, shortened

_MOST = 2000  # the most characters of a message

Case = tuple[str, str, float, str, str]
"""Class, name, seconds, kind (`passed`, `failure`, `skipped`) and the sentence to it."""


def junit_xml(shares: Iterable[Share], bundles: Iterable[BundleRecord] = ()) -> str:
    """The report of a build as XML text."""
    suites = [(share.tests, share.suite) for share in shares if share.cells]
    for bundle in bundles:
        own = Suite()
        own.add_cases(_bundle_cases(bundle))
        suites.append((own.tests, own.text(bundle.bundle)))
    counts = _counts(Tests.all_of(tests for tests, _ in suites), "trtpipe build")
    head = f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites{counts}>\n'
    return "".join([head, *(text for _, text in suites), "</testsuites>\n"])


class Suite:
    """The test suite of a pipeline, of whose cells one is added after the other."""

    def __init__(self) -> None:
        self.tests = Tests()
        self._lines: list[str] = []

    def add(self, cell: CellRecord) -> None:
        """Add a cell's test cases."""
        self.add_cases(_cases(cell))

    def add_cases(self, found: Iterable[Case]) -> None:
        """Add test cases."""
        cases = list(found)
        kinds = [case[3] for case in cases]
        seconds = sum(case[2] for case in cases)
        own = Tests(len(cases), kinds.count("failure"), kinds.count("skipped"), seconds)
        self.tests = Tests.all_of((self.tests, own))
        self._lines += map(_case, cases)

    def text(self, name: str) -> str:
        """The suite's lines."""
        return "\n".join([f"  <testsuite{_counts(self.tests, name)}>", *self._lines, "  </testsuite>\n"])


def _bundle_cases(bundle: BundleRecord) -> Iterator[Case]:
    """A bundle, and for each target the typed models as a whole, the engines as a whole, and what was not run."""
    why = "; ".join(bundle.why)
    kinds = {"complete": "passed", "failed": "failure", "not built": "skipped"}
    told = {"passed": "", "failure": "\n".join(bundle.why) or "failed", "skipped": f"not run: {why}"}
    kind = kinds[bundle.state]
    yield bundle.bundle, "the bundle", 0.0, kind, told[kind]
    for one in bundle.targets:
        inside = f"{bundle.bundle}.{one.target}"
        if one.outcome == "passed":
            yield inside, "the typed models as a whole", 0.0, "passed", ""
        if one.on_gpu != "not run":
            yield inside, "the engines as a whole", 0.0, "passed", ""
        for text in one.not_run:
            what, _, reason = text.partition(": ")
            yield inside, what, 0.0, "skipped", f"not run: {reason or what}"


def _cases(cell: CellRecord) -> Iterator[Case]:
    name = f"{cell.variant}@{cell.target}"
    seconds = sum(cell.seconds.values())
    if cell.state == "failed":
        yield cell.pipeline, name, seconds, "failure", "\n".join(cell.problems) or "failed"
        return
    if cell.engine is None:
        yield cell.pipeline, name, 0.0, "skipped", f"not run: {'; '.join(cell.problems) or 'not built'}"
        return
    yield cell.pipeline, name, seconds, "passed", ""
    inside = f"{cell.pipeline}.{name}"
    yield from (_threshold(inside, one) for one in cell.validation.verdicts)
    yield from (_link(inside, one) for one in cell.reach if one.part != "engine")
    if cell.on_gpu.outcome != "not run":
        yield from _on_gpu(inside, cell.on_gpu)
    for one in cell.not_run:
        what, _, why = one.partition(": ")
        yield inside, what, 0.0, "skipped", f"not run: {why or what}"


def _on_gpu(inside: str, proof: OnGpu) -> Iterator[Case]:
    kind = "passed" if proof.outcome == "passed" else "failure"
    yield inside, "the engine on a GPU", 0.0, kind, f"{proof.outcome} on {proof.gpu or 'a GPU'}"


def _link(inside: str, link: Link) -> Case:
    """A link of the chain of proofs; the engine's run on a GPU is a test case of its own."""
    kind = {"proved": "passed", "failed": "failure"}.get(link.outcome, "skipped")
    return (
        inside,
        f"proof: {PARTS[link.part]}",
        0.0,
        kind,
        "" if kind == "passed" else f"{link.outcome}: {link.why}",
    )


def _threshold(inside: str, verdict: Verdict) -> Case:
    bound = bound_words(verdict)
    name = f"{verdict.place}: {verdict.metric} of {verdict.output} {bound}".strip()
    value = verdict.value
    told = figure_beside(value, verdict.min, verdict.max) if isinstance(value, float) else number_words(value)
    found = f"{verdict.metric} is {told}"
    match verdict.outcome:
        case "passed":
            return inside, name, 0.0, "passed", ""
        case "failed":
            return inside, name, 0.0, "failure", f"{found}, must be {bound}"
    return inside, name, 0.0, "skipped", f"not run: {verdict.why or 'it was not measured'}"


def _counts(found: Tests, name: str) -> str:
    return (
        f' name={_quoted(name)} tests="{found.tests}" failures="{found.failures}" errors="0"'
        f' skipped="{found.skipped}" time="{found.seconds:.3f}"'
    )


def _case(case: Case) -> str:
    inside, name, seconds, kind, text = case
    head = f'    <testcase classname={_quoted(inside)} name={_quoted(name)} time="{seconds:.3f}"'
    if kind == "passed":
        return f"{head}/>"
    first = text.splitlines()[0] if text else kind
    body = (
        "\n".join(escape(shortened(line, _MOST)) for line in text.splitlines()) if kind == "failure" else ""
    )
    return f"{head}><{kind} message={_quoted(first)}>{body}</{kind}></testcase>"


@lru_cache(maxsize=1 << 14)  # the cells of a build have most of their words in common
def _quoted(text: str) -> str:
    return quoteattr(shortened(text, _MOST))
