"""Every link among the pages leads to a file that is there, and to a heading in it; the index knows every page."""

from __future__ import annotations

import re

import pytest

from tests.markdown_pages import PAGES, ROOT, anchors_of, links_of

HERE = {page: page.relative_to(ROOT).as_posix() for page in PAGES}


def broken_links(page):
    for link in links_of(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists():
            yield f"{link}: no such file"
        elif anchor and anchor not in anchors_of(target):
            yield f"{link}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=HERE.values())
def test_every_link_of_a_page_leads_somewhere(page):
    assert list(broken_links(page)) == []


def test_a_link_that_leads_nowhere_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# One\n\n[a](#one) [b](#two) [c](none.md) [d](page.md#one) [e](page.md#two) [f](https://example.org/x)\n"
    )

    assert list(broken_links(page)) == [
        "#two: no such heading",
        "none.md: no such file",
        "page.md#two: no such heading",
    ]


def test_the_site_has_every_page_of_the_docs_in_its_navigation():
    listed = re.findall(r"([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    pages = {page.relative_to(ROOT / "docs").as_posix() for page in PAGES if (ROOT / "docs") in page.parents}

    assert sorted(listed) == sorted(pages)


def test_the_index_has_a_line_for_every_page_of_the_docs():
    listed = re.findall(
        r"^\| \[[^]]+\]\(([^)]+)\) \|", (ROOT / "docs" / "index.md").read_text(), re.MULTILINE
    )
    pages = {page.relative_to(ROOT / "docs").as_posix() for page in PAGES if (ROOT / "docs") in page.parents}

    assert sorted(listed) == sorted(pages - {"index.md"})
