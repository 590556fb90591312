"""The pages of docs/reference/ are what the code says today."""

from __future__ import annotations

import importlib.util

import pytest

from tests.markdown_pages import ROOT

_spec = importlib.util.spec_from_file_location("reference_pages", ROOT / "docs" / "reference.py")
assert _spec is not None and _spec.loader is not None
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)


@pytest.mark.parametrize("name", reference.PAGES)
def test_a_page_is_what_the_code_says(name):
    committed = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")

    assert committed == reference.PAGES[name](), "run: python docs/reference.py"


def test_a_hidden_option_is_on_no_page():
    assert "--caffemodel" not in reference.commands_page()
    assert "--with" in reference.commands_page()
