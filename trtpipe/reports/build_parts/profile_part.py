"""Where a build's time went, if it was recorded (`build --profile`): a picture, and the longest parts as a table."""

from __future__ import annotations

from trtpipe.reports.gantt import Bar, gantt, rows_of
from trtpipe.reports.html import Content, Markup, el, joined, table
from trtpipe.reports.models import ProfileRecord
from trtpipe.reports.words import seconds_words

_MOST_LISTED = 60


def profile_section(profile: ProfileRecord) -> Markup:
    """What took how long, up to the reports themselves."""
    bars = [Bar(one.lane, one.name, one.began, one.began + one.seconds) for one in profile.parts]
    listed = sorted(profile.parts, key=lambda one: -one.seconds)[:_MOST_LISTED]
    rows: list[list[Content]] = [
        [one.name, one.lane, seconds_words(one.began), seconds_words(one.seconds)] for one in listed
    ]
    header = ("what", "where", "began at", "took")
    told = (
        "Up to the writing of this page. The file that --profile names also has what ran inside each process."
    )
    return joined(
        [
            el("p", told, class_="soft"),
            gantt(rows_of(bars), profile.wall, "Parts of the build"),
            table(header, rows, caption="The longest parts", numeric=(2, 3)),
        ]
    )
