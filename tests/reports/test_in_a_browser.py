"""Pages in a real browser: they render, sort and filter by keyboard, and neither complain nor ask for anything."""

from __future__ import annotations

import shutil

import pytest

from tests.reports.browser import NOT_RUN, Browser, chromium
from tests.reports.synthetic_build import HOSTILE, write_build
from tests.reports.test_pages import page_of_build, page_of_cell

CELLS = 200

CHECKS = """
(() => {
  const wrong = [];
  const named = (one) => one.getAttribute("aria-label") || one.getAttribute("aria-labelledby")
    || (one.labels && one.labels.length) || one.textContent.trim();
  document.querySelectorAll("a, button, input, select, summary, [tabindex]").forEach((one) => {
    if (!named(one)) wrong.push("no name: " + one.outerHTML.slice(0, 80));
  });
  document.querySelectorAll("table").forEach((one) => {
    if (!one.caption) wrong.push("a table without a caption");
    one.querySelectorAll("thead th").forEach((head) => { if (head.scope !== "col") wrong.push("no scope"); });
  });
  for (const landmark of ["header", "nav", "main"])
    if (document.querySelectorAll("body > " + landmark).length !== 1) wrong.push("not one " + landmark);
  if (!document.title || !document.documentElement.lang) wrong.push("no title or language");
  return wrong;
})()
"""

CONTRAST = """
(() => {
  const light = (rgb) => {
    const [r, g, b] = rgb.match(/[\\d.]+/g).map(Number).map((c) => c / 255)
      .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const paper = light(getComputedStyle(document.body).backgroundColor);
  const least = {};
  document.querySelectorAll("p, a, td, th, .status, .soft, dt, summary").forEach((one) => {
    const ink = light(getComputedStyle(one).color);
    const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    least[one.className || one.tagName] = Math.min(ratio, least[one.className || one.tagName] ?? 99);
  });
  return Math.min(...Object.values(least));
})()
"""


@pytest.fixture(scope="module")
def browser():
    found = chromium()
    if found is None:
        pytest.skip(NOT_RUN)
    opened = Browser(found)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    path = tmp_path_factory.mktemp("build") / "report.html"
    path.write_text(page_of_build(CELLS), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def cell(tmp_path_factory):
    path = tmp_path_factory.mktemp("cell") / "report.html"
    path.write_text(page_of_cell(), encoding="utf-8")
    return path


def shown(browser):
    return browser.run(
        "[...document.querySelectorAll('#cell-table tbody tr')].filter(r => !r.hidden).map(r => r.cells[0].textContent)"
    )


def column(browser, index):
    return browser.run(
        f"[...document.querySelectorAll('#cell-table tbody tr')].map(r => r.cells[{index}].dataset.v)"
    )


def focused(browser):
    return browser.run("document.activeElement.id || document.activeElement.textContent.trim()")


@pytest.mark.parametrize("name", ["build", "cell"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 380])
def test_a_page_renders_without_complaint_or_request(browser, request, name, dark, width):
    path = request.getfixturevalue(name)
    browser.look(width=width, dark=dark)

    browser.open(path)

    assert browser.complaints() == []
    assert browser.requests() == [path.as_uri()]
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run(CHECKS) == []
    assert browser.run(CONTRAST) >= 4.5


def test_nothing_that_slips_in_runs(browser, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(page_of_build(2, HOSTILE), encoding="utf-8")
    browser.open(path)

    browser.run("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.ran = 1\">'); 0")
    found = browser.run("new Promise(done => setTimeout(() => done(window.ran || 0), 200))")

    assert found == 0
    assert any("Content Security Policy" in text for text in browser.complaints())


def test_columns_sort_by_keyboard(browser, build):
    browser.look(width=1280)
    browser.open(build)
    browser.run("document.querySelectorAll('#cell-table thead button')[7].focus()")

    browser.enter()

    assert (
        browser.run("document.querySelectorAll('#cell-table th')[7].getAttribute('aria-sort')") == "ascending"
    )
    sizes = [float(one) for one in column(browser, 7)]
    assert sizes == sorted(sizes)

    browser.enter()

    assert (
        browser.run("document.querySelectorAll('#cell-table th')[7].getAttribute('aria-sort')")
        == "descending"
    )
    assert [float(one) for one in column(browser, 7)] == sizes[::-1]
    assert browser.run("document.querySelectorAll('#cell-table th[aria-sort=none]').length") == 9
    assert browser.run("document.getElementById('filter-told').textContent") == "sorted by Size, descending"


def test_cells_are_filtered_by_keyboard(browser, build):
    browser.look(width=1280)
    browser.open(build)
    browser.run("document.getElementById('filter-words').focus()")

    browser.type("int8 net1/")

    found = shown(browser)
    assert found
    assert len(found) < CELLS
    assert all("int8" in name and name.startswith("net1/") for name in found)
    assert (
        browser.run("document.getElementById('filter-told').textContent")
        == f"{len(found)} of 200 cells shown"
    )
    assert browser.run(
        "[...document.querySelectorAll('#details > details')].filter(d => !d.hidden).length"
    ) == len(found)


def test_cells_are_filtered_by_kind(browser, build):
    browser.open(build)
    select = "document.getElementById('filter-kind')"
    choose = f"(kind => {{ {select}.value = kind; {select}.dispatchEvent(new Event('change')) }})"

    browser.run(f"{choose}('built')")
    assert len(shown(browser)) == CELLS
    browser.run(f"{choose}('failed')")
    assert shown(browser) == []


def test_the_first_tab_skips_to_the_content(browser, build):
    browser.open(build)

    browser.tab()
    assert focused(browser) == "Skip to the content"
    assert browser.run("document.activeElement.getBoundingClientRect().left >= 0")
    browser.enter()

    assert focused(browser) == "content"


def test_focus_is_seen(browser, build):
    browser.open(build)
    for _ in range(4):
        browser.tab()

    assert browser.run("getComputedStyle(document.activeElement).outlineStyle") != "none"


def test_a_link_to_a_cell_opens_it(browser, build):
    browser.look(width=1280)
    browser.open(build)

    browser.run("document.querySelector('#cell-table tbody a').click()")
    browser.run("new Promise(done => setTimeout(done, 100))")

    assert browser.run("document.querySelector('#details details').open") is True


def test_the_theme_can_be_chosen_against_the_system(browser, cell):
    browser.look(width=1280, dark=False)
    browser.open(cell)
    colour = "getComputedStyle(document.body).backgroundColor"
    light = browser.run(colour)

    browser.run("document.querySelector('input[value=dark]').click()")

    assert browser.run(colour) != light
    assert (
        browser.run("getComputedStyle(document.querySelector('main svg .bar')).fill") != "rgb(47, 111, 159)"
    )
    browser.run("document.querySelector('input[value=auto]').click()")
    assert browser.run(colour) == light


def test_motion_is_left_out_for_those_who_ask(browser, cell):
    browser.look(width=1280, calm=True)
    browser.open(cell)

    assert browser.run("getComputedStyle(document.documentElement).scrollBehavior") == "auto"


def test_the_names_that_a_screen_reader_speaks(browser, build):
    browser.open(build)

    browser.call("Accessibility.enable")
    tree = browser.call("Accessibility.getFullAXTree", depth=8)["nodes"]
    browser.call("Accessibility.disable")

    roles = {node["role"]["value"] for node in tree if not node.get("ignored")}
    assert {"banner", "navigation", "main", "region", "table", "heading", "columnheader", "status"} <= roles


def test_two_hundred_cells_are_not_many_elements(browser, build):
    browser.open(build)

    assert browser.run("document.getElementsByTagName('*').length") < 60_000


def test_the_reports_of_a_build_link_to_each_other(browser, tmp_path):
    from tests.reports.synthetic_build import outcome_of
    from trtpipe.app.report.reports import report_build

    planned = write_build(tmp_path / "a project", [("net", "int8", "t1")], full=False)
    report_build(planned, outcome_of(planned), interrupted=False)
    browser.open(planned.workspace.build / "report.html")

    links = browser.run(
        "[...document.querySelectorAll('main a')].map(a => a.getAttribute('href')).filter(h => !h.startsWith('#'))"
    )

    assert links
    assert [one for one in links if not (planned.workspace.build / one).is_file()] == []
    shutil.rmtree(tmp_path / "a project")
