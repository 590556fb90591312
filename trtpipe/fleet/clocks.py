"""What an agent's answer tells of its GPU's clocks while the work ran."""

from __future__ import annotations

from trtpipe.json_values import JsonObject, Malformed, number_in, object_in, texts_in


def held_down(result: JsonObject) -> str:
    """What limited the GPU's clocks at the beginning or the end of the work; empty if nothing did, as far as is known.

    Kernels that were timed on a GPU that was held down may not be the fastest ones. Raises Malformed.
    """
    clocks = object_in(result, "clocks") if "clocks" in result else {}
    found = []
    for when, words in (("before", "when it began"), ("after", "when it ended")):
        state = object_in(clocks, when) if when in clocks else {}
        reasons = texts_in(state, "limited_by") if state.get("limited_by") else []
        if reasons:
            found.append(f"{words} by {', '.join(reasons)}{_clock(state)}")
    return f"the clocks of its GPU were held down {' and '.join(found)}" if found else ""


def _clock(state: JsonObject) -> str:
    try:
        return f" (SM {number_in(state, 'sm_mhz'):g} of {number_in(state, 'sm_max_mhz'):g} MHz)"
    except Malformed:
        return ""
