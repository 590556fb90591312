"""Pages as HTML text: whole, small, closed to the network, and nothing in them is markup that a name brought."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from tests.reports.synthetic_build import (
    COMPARED,
    HOSTILE,
    SCALES,
    SEARCH,
    bench,
    manifest,
    outcome_of,
    planned_of,
    proof,
    validation,
)
from trtpipe.app.report.reports import _steps
from trtpipe.reports.build_page import build_page
from trtpipe.reports.builds import Course, build_record
from trtpipe.reports.cell_page import cell_page
from trtpipe.reports.cell_report import Parts, cell_report
from trtpipe.reports.cells import delivered_cell
from trtpipe.reports.details import bench_of, proof_of, scales_of, search_of, validation_of
from trtpipe.reports.drawings import plots
from trtpipe.reports.making_shares import shares_of


class Tags(HTMLParser):
    """Every tag of a page with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)

    def named(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def page_of_cell(variant="int8", output="logits", **more):
    made = manifest("net", variant, "t0", **more)
    engine = made["engine"]["blake3"]
    parts = Parts(
        measured=validation_of(validation("x", output)), bench=bench_of(bench(engine)), proof=proof_of(proof(engine)),
        scales=scales_of(SCALES, COMPARED), search=search_of(SEARCH),
    )  # fmt: skip
    cell = delivered_cell(made, "built", parts.bench, parts.proof)
    return cell_page(cell_report(cell, made, parts, {}, ["manifest.json", "build.log"]))


def page_of_build(count, output="logits"):
    cells = [
        (f"net{n // 40}", f"{'int8' if n % 4 == 0 else 'fp16'}-{n % 40 // 10}", f"t{n % 10}")
        for n in range(count)
    ]
    planned = planned_of(Path("/nowhere"), cells)
    places, records = [], []
    for pipeline, variant, target in cells:
        record = delivered_cell(manifest(pipeline, variant, target), "built")
        places.append(validation_of(validation(f"{pipeline}/{variant}", output)).places)
        records.append(record)
    course = Course(list(_steps(planned, outcome_of(planned))))
    report = build_record(records, course, {"python": HOSTILE})
    return build_page(report, shares_of(report, places))


@pytest.fixture(scope="module")
def cell_text():
    return page_of_cell()


@pytest.fixture(scope="module")
def build_text():
    return page_of_build(20)


@pytest.fixture(params=["cell_text", "build_text"])
def text(request):
    return request.getfixturevalue(request.param)


def test_a_page_names_nothing_of_the_network(text):
    tags = Tags(text)

    links = [
        value for _, attributes in tags.tags for name, value in attributes.items() if name in ("src", "href")
    ]
    assert all(not re.match(r"[a-z]+:|//", link or "") or link == "data:," for link in links)
    assert "http" not in re.sub(r"http-equiv", "", text)
    assert [one for one in tags.named("meta") if one.get("http-equiv") == "Content-Security-Policy"]


def test_a_page_has_no_styles_or_handlers_in_its_elements(text):
    names = {name for _, attributes in Tags(text).tags for name in attributes}

    assert "style" not in names
    assert not {name for name in names if name.startswith("on")}
    assert text.count("<script>") == text.count("</script>") == text.count("<style>") == 1


def test_ids_are_unique_and_whatever_refers_to_one_finds_it(text):
    tags = Tags(text)
    ids = Counter(attributes["id"] for _, attributes in tags.tags if "id" in attributes)

    assert [name for name, count in ids.items() if count > 1] == []
    for _, attributes in tags.tags:
        for name in ("aria-labelledby", "for"):
            assert name not in attributes or attributes[name] in ids
        link = attributes.get("href") or ""
        assert not link.startswith("#") or link[1:] in ids
    assert all(name in ids for name in re.findall(r"url\(#([^)]+)\)", text))


def test_every_plot_says_in_words_what_it_shows(text):
    drawn = Tags(text).named("svg")

    assert drawn
    assert all(one.get("role") == "img" and one.get("aria-label") for one in drawn)


def test_headings_leave_no_level_out(text):
    levels = [int(tag[1]) for tag, _ in Tags(text).tags if re.fullmatch(r"h[1-6]", tag)]

    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_hostile_names_are_text():
    page = page_of_cell(
        output=HOSTILE,
        precision=HOSTILE,
        io=[{"name": HOSTILE * 400, "mode": HOSTILE, "dtype": "x", "shape": [1]}],
    )
    pages = [page, page_of_build(2, HOSTILE)]

    for text in pages:
        tags = Tags(text)
        assert tags.named("img") == []
        assert text.count("</script>") == 1
        assert "\u202e" not in text
        assert "\x00" not in text
        assert "\\u202e" in text
        assert max(map(len, text.split("<"))) < 40_000


def test_a_page_of_a_cell_draws_what_was_measured(cell_text):
    for words in ("absolute errors up to", "pairs of reference and output", "Cost against error of 7 typed",
                  "Median and 99th percentile", "Profile 0", "/block11/Relu", "fp32, host: 1.9 times",
                  "NVIDIA RTX 4090 (8.9)"):  # fmt: skip
        assert words in cell_text
    assert "var(--accent)" in cell_text
    assert "#1f77b4" not in cell_text


def test_equal_reports_give_equal_pages(cell_text):
    assert page_of_cell() == cell_text


def test_what_was_not_recorded_is_said():
    made = manifest("net", "fp16", "t0", calibration=None)

    page = cell_page(
        cell_report(delivered_cell(made, "built"), made, Parts(), {"validation.json": "not there"}, ())
    )

    for words in ("Not recorded: validation.json is not there", "Not recorded: bench.json", "Not recorded: proof.json",
                  "No search was made", "needs no calibration", "was measured with the engine on a GPU"):  # fmt: skip
        assert words in page


def test_a_plot_holds_all_of_its_points_between_its_axes():
    pairs = [(0.0, 0.5), (-2.0, -1.5), (7.25, 7.0)]
    dots = re.findall(r"M([-\d.]+) ([-\d.]+)a", plots.scatter_plot(pairs, "three"))

    assert len(dots) == 3
    right, up = [float(x) for x, _ in dots], [-float(y) for _, y in dots]
    assert right[1] < right[0] < right[2]
    assert up[1] < up[0] < up[2]
    assert all(62 <= x <= 308 for x in right)
    assert all(-158 <= y <= -18 for y in up)


@pytest.mark.parametrize(
    "pairs",
    [[(0.0, 0.0)], [(3.0, 3.0)], [(1e308, -1e308)], [(1.0, 1.0 + 2e-16)], [(5e-324, 0.0)], [(-1e-30, 1e-30)]],
)
def test_a_plot_of_any_numbers_has_finite_places(pairs):
    drawn = plots.scatter_plot(pairs, "some")

    assert "nan" not in drawn
    assert "inf" not in drawn
    assert drawn.count("<text") < 20


def test_two_hundred_cells_stay_under_five_megabytes():
    text = page_of_build(200)

    assert len(text.encode()) < 5_000_000
    assert len(Tags(text).named("details")) > 200


def test_the_page_of_a_huge_build_leaves_details_to_the_cells_own_reports(monkeypatch):
    monkeypatch.setattr("trtpipe.reports.making_shares._MOST_DETAILS", 50_000)

    text = page_of_build(40)

    assert "are in the cells&#x27; own reports" in text
    assert "net0/fp16-3@t9/report.html" in text


def test_a_bench_of_the_cpu_says_that_it_is_none_of_the_engine():
    made = manifest("net", "fp16", "t0")
    engine = made["engine"]["blake3"]
    part = bench_of(bench(engine, "typed model on the CPU"))

    page = cell_page(cell_report(delivered_cell(made, "built", part), made, Parts(bench=part), {}, ()))

    assert "This is the typed model on the CPU: it says nothing of the engine&#x27;s speed on a GPU." in page
