"""Plain tables: aligned, and one line a row whatever names hold."""

from __future__ import annotations

from trtpipe.text.tables import render_table


def test_columns_are_as_wide_as_their_widest_cell_and_the_last_is_not_padded():
    assert render_table(("name", "n"), [("a", "1000"), ("longer", "")]) == "name    n\na       1000\nlonger"


def test_names_with_lines_and_controls_stay_on_their_row():
    assert render_table(("name",), [("a\nb\x1b[0m",)]) == "name\na\\nb\\x1b[0m"
