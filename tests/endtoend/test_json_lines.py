"""The lines of `build --json` as another program reads them: each kind has these keys, in this order."""

from __future__ import annotations

WORKER_FACTS = (
    "ok python peak_rss seconds address_randomisation version io layer_counts addresses engine_size tactics "
    "scratch_memory activation_memory weights_memory"
)
KEYS = {
    "plan": "schema steps cells",
    "start": "address decision key reason",
    "done": "address key ran seconds summary",
    "delivered": "built cell about directory validation audit typed reach not_run",
    "end": "built restored up_to_date failed not_built lock_changed interrupted problems closing",
    "worker_start": "action pid schema address",
    "worker_phase": "name parent steps step state address",
    "worker_log": "severity message address",
    "worker_network": "name layers io address",
    "worker_engine": "file size scratch_memory activation_memory weights_memory address",
    "worker_result": f"{WORKER_FACTS} address",
    "worker_result of parse": "ok python peak_rss seconds address_randomisation version io layer_counts read address",
}
"""What a first build of a project without data says: recorded, so that whoever reads it can rely on it."""
BY_THE_CLOCK = {"worker_memory": "rss peak address"}


def kind_of(event):
    """What an event is; a result says other things of a build than of a parse."""
    parse = event["event"] == "worker_result" and event["address"].endswith(":parse")
    return f"{event['event']} of parse" if parse else event["event"]


def test_every_line_has_the_keys_of_its_kind(project):
    events = project.run("build", "--json").events

    found = {
        kind_of(event): " ".join(name for name in event if name not in ("event", "at")) for event in events
    }
    assert found | BY_THE_CLOCK == KEYS | BY_THE_CLOCK
    for event in events:
        first, *names, last = event
        assert (first, " ".join(names), last) == ("event", found[kind_of(event)], "at")


def test_a_build_that_is_refused_says_only_how_it_ended(project):
    (project.root / "models/digits.onnx").write_bytes(b"no model")

    (ended,) = project.run("build", "--json").events

    assert list(ended) == ["event", *KEYS["end"].split(), "at"]
    assert [list(problem) for problem in ended["problems"]] == [
        ["severity", "code", "fact", "remedy", "where"]
    ]
