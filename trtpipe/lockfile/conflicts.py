"""Splits a text with git conflict markers into its two sides, with or without the common ancestor.

<<<<<<< ours
…
||||||| ancestor      (merge.conflictStyle diff3 and zdiff3)
…
=======
…
>>>>>>> theirs
"""

from __future__ import annotations

_OURS, _ANCESTOR, _MIDDLE, _THEIRS = "<<<<<<< ", "||||||| ", "=======", ">>>>>>> "
_BEFORE = {_OURS: ("",), _ANCESTOR: (_OURS,), _MIDDLE: (_OURS, _ANCESTOR), _THEIRS: (_MIDDLE,)}
"""Marker → the parts of a conflict that it may end; "" is outside of any."""


def conflict_at(text: str) -> tuple[int, str] | None:
    """The number, from 1, and the text of the first marker's line; None when there is none."""
    if _OURS not in text and _THEIRS not in text:
        return None
    lines = enumerate(text.splitlines(), 1)
    return next(((number, line) for number, line in lines if line.startswith((_OURS, _THEIRS))), None)


def both_sides(text: str) -> tuple[str, str] | None:
    """The text as either side had it; None when the markers do not pair up."""
    ours: list[str] = []
    theirs: list[str] = []
    part = ""
    for line in text.splitlines(keepends=True):
        marker = _marker(line)
        if marker is not None:
            if part not in _BEFORE[marker]:
                return None
            part = "" if marker == _THEIRS else marker
            continue
        if part in ("", _OURS):
            ours.append(line)
        if part in ("", _MIDDLE):
            theirs.append(line)
    return None if part else ("".join(ours), "".join(theirs))


def _marker(line: str) -> str | None:
    if line.rstrip("\r\n") == _MIDDLE:
        return _MIDDLE
    return next((one for one in (_OURS, _ANCESTOR, _THEIRS) if line.startswith(one)), None)
