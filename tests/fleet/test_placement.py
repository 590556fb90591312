"""Which agent may do which work, and the reason when it may not."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections import Counter
from typing import Any

import pytest

from trtpipe import __version__
from trtpipe.errors import FleetError, Interrupted
from trtpipe.fleet import lanes as lanes_module
from trtpipe.fleet.connection import SeenAgent
from trtpipe.fleet.labels import Exchange, InstalledToolchain, Labels, Machine
from trtpipe.fleet.lanes import Lane, Lanes
from trtpipe.fleet.placement import GpuNeed, Need, WorkFacts, need_of, why_not
from trtpipe.fleet.protocol import ToolchainNeed
from trtpipe.plan.control import Control
from trtpipe.targets.compute_capability import ComputeCapability
from trtpipe.toolchains.detect import DetectedGpu

T4 = DetectedGpu(0, "Tesla T4", ComputeCapability(7, 5), "GPU-t4", 16 << 30, "580.95", "13.0")
RTX2080 = DetectedGpu(0, "NVIDIA GeForce RTX 2080", ComputeCapability(7, 5), "GPU-2080")
L4 = DetectedGpu(1, "NVIDIA L4", ComputeCapability(8, 9), "GPU-l4")
RTX = InstalledToolchain("tensorrt_rtx", "1.7.1.116", {"flavour": "tensorrt_rtx", "version": "1.7.1.116"})
NEEDS_RTX = ToolchainNeed("tensorrt_rtx", "1.7.1.116", RTX.facts)
MACHINE = Machine("host", "linux", "x86_64", "x86_64 avx2", 8, 1 << 34)


def labels(name: str = "a", **changes: Any) -> Labels:
    plain = Labels(
        name, MACHINE, __version__, "cpython 3.11.7", {"onnx": "1.20.0", "onnx-ir": "0.1"}, lanes=2
    )
    return dataclasses.replace(plain, **changes)


def test_labels_survive_json():
    whole = labels(
        gpus=(T4, L4), toolchains=(RTX,), installs=("tensorrt_rtx",), one=True, project_code=True,
        exchange=Exchange("h:1", "secret", "id", "/store", "s3://bucket"),
    )  # fmt: skip

    assert Labels.from_text(whole.to_text()) == whole


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": 1}', "\x00", labels().to_text()[:-2]])
def test_damaged_labels_are_refused(text: str):
    with pytest.raises(ValueError):
        Labels.from_text(text)


def test_equal_compute_capability_is_not_the_same_gpu():
    need = Need(gpu=GpuNeed(("Tesla T4",), (ComputeCapability(7, 5),)))

    assert why_not(labels(gpus=(T4,)), need) == ""
    assert why_not(labels(gpus=(RTX2080,)), need) == "has no Tesla T4, but NVIDIA GeForce RTX 2080 (sm75)"
    assert why_not(labels(), need) == "has no Tesla T4"


def test_any_newer_gpu_will_do_for_a_compatible_engine():
    need = GpuNeed((), (ComputeCapability(8, 0),), newer=True)

    assert need.fits(L4) and not need.fits(T4)


@pytest.mark.parametrize(
    ("changes", "need", "reason"),
    [
        ({"trtpipe": "0.0.1"}, Need(), f"has trtpipe 0.0.1, this machine {__version__}"),
        (
            {"python": "cpython 3.10.1"},
            Need(python="cpython 3.11.7"),
            "has cpython 3.10.1, this machine cpython 3.11.7",
        ),
        ({"python": "cpython 3.11.2"}, Need(python="cpython 3.11.7"), ""),
        ({"python": "cpython 3.10.1"}, Need(), ""),
        ({}, Need({"onnx": "1.21.0"}), "has onnx 1.20.0, this machine has 1.21.0"),
        ({}, Need({"torch": "2.8"}), "lacks torch, this machine has 2.8"),
        ({}, Need({"onnx_ir": "0.1"}), ""),
        ({}, Need(toolchain=NEEDS_RTX), "has no TensorRT-RTX 1.7.1.116 and cannot install it"),
        ({"installs": ("tensorrt_rtx",)}, Need(toolchain=NEEDS_RTX), ""),
        ({"toolchains": (RTX,)}, Need(toolchain=NEEDS_RTX), ""),
        (
            {"toolchains": (dataclasses.replace(RTX, facts={**RTX.facts, "python": "cpython 3.14.0"}),)},
            Need(toolchain=NEEDS_RTX),
            "has TensorRT-RTX 1.7.1.116 for Python cpython 3.14.0",
        ),
        ({}, Need(project_code=True), "does not run a project's own code (start it with --allow-project-code)"),
    ],
)  # fmt: skip
def test_the_reason_names_both_sides(changes: dict[str, Any], need: Need, reason: str):
    assert why_not(labels(**changes), need) == reason


def test_a_step_needs_the_packages_of_its_key():
    step = WorkFacts(
        "parse", {"toolchain": {"flavour": "tensorrt_rtx"}, "onnx": "1.20.0"}, {"model": ["model.onnx"]}
    )
    engine = WorkFacts(
        "build_engine", {"flavour": "tensorrt_rtx", "version": "1.7.1.116"}, {"plugins": ["p.so"]}
    )

    assert need_of(step, "", None, None).packages == {"onnx": "1.20.0"}
    assert need_of(engine, "", None, None) == Need(project_code=True)


class FakeFleet:
    """Agents that come and go as a test says."""

    def __init__(self, *found: Labels) -> None:
        self.changed = threading.Condition()
        self.found = list(found)
        self.seen: tuple[SeenAgent, ...] = ()

    def agents(self) -> tuple[SeenAgent, ...]:
        if [one.labels for one in self.seen] != self.found:
            self.seen = tuple(SeenAgent(f"tcp://{one.name}", one) for one in self.found)
        return self.seen


def lanes_of(*found: Labels, wait_seconds: float = 0.0) -> Lanes:
    return Lanes(FakeFleet(*found), wait_seconds)  # type: ignore[arg-type]


def test_each_gpu_is_taken_once_and_lanes_as_often_as_there_are():
    lanes = lanes_of(labels("a", gpus=(T4, L4)), labels("b"))
    on_any = Need(gpu=GpuNeed())

    assert {str(lanes.take(on_any, Control())) for _ in range(2)} == {"a gpu 0", "a gpu 1"}
    assert sorted(str(lanes.take(Need(), Control())) for _ in range(4)) == ["a", "a", "b", "b"]


def test_a_busy_lane_is_waited_for():
    lanes = lanes_of(labels("a", lanes=1))
    first = lanes.take(Need(), Control())
    threading.Timer(0.1, lanes.give, [first]).start()

    assert str(lanes.take(Need(), Control())) == "a"


def test_waiting_for_a_lane_can_be_stopped():
    lanes, control = lanes_of(labels("a", lanes=1)), Control()
    lanes.take(Need(), control)
    threading.Timer(0.1, control.cancelled.set).start()

    with pytest.raises(Interrupted):
        lanes.take(Need(), control)


def test_an_agent_that_failed_is_avoided_while_others_fit():
    lanes = lanes_of(labels("a"), labels("b"))

    assert str(lanes.take(Need(), Control(), avoid={"tcp://a"})) == "b"
    assert str(lanes_of(labels("a")).take(Need(), Control(), avoid={"tcp://a"})) == "a"


def test_nobody_is_an_error_with_the_reasons():
    with pytest.raises(
        FleetError, match=r"no agent of the fleet can do a step, which needs torch 2\.8"
    ) as error:
        lanes_of(labels("a")).take(Need({"torch": "2.8"}), Control())

    assert "a lacks torch" in str(error.value)


def test_agents_that_join_later_are_waited_for():
    lanes = lanes_of(wait_seconds=30.0)
    threading.Timer(0.1, lanes.fleet.found.append, [labels("late")]).start()  # type: ignore[attr-defined]

    began = time.monotonic()
    lanes.wait_for([Need()])

    assert str(lanes.take(Need(), Control())) == "late"
    assert time.monotonic() - began < 20


def test_an_agent_for_one_piece_of_work_gets_no_second():
    lanes = lanes_of(labels("one", one=True), labels("z"))
    first = lanes.take(Need(), Control())
    lanes.give(first)

    assert str(first) == "one"
    assert str(lanes.take(Need(), Control())) == "z"


def test_the_total_counts_lanes_and_gpus():
    assert lanes_of(labels("a", gpus=(T4, L4)), labels("b")).total() == 6


def test_clients_that_do_not_know_of_each_other_spread_over_equal_gpus():
    agents = [labels(name, gpus=(L4,)) for name in "abcdefgh"]

    taken = {str(lanes_of(*agents).take(Need(gpu=GpuNeed()), Control())) for _ in range(40)}

    assert len(taken) > 2


def test_one_client_spreads_over_agents():
    lanes = lanes_of(labels("a", gpus=(T4, L4)), labels("b", gpus=(T4, L4)))

    taken = [str(lanes.take(Need(gpu=GpuNeed()), Control()))[0] for _ in range(2)]

    assert sorted(taken) == ["a", "b"]


def test_taking_a_lane_looks_at_what_changed_and_not_at_every_agent(monkeypatch: pytest.MonkeyPatch):
    asked: Counter[str] = Counter()

    def counted(found: Labels, need: Need) -> str:
        asked["fits"] += 1
        return why_not(found, need)

    def counted_worth(lanes: Lanes, lane: Lane) -> Any:
        asked["worth"] += 1
        return worth(lanes, lane)

    worth = Lanes._worth
    monkeypatch.setattr(lanes_module, "why_not", counted)
    monkeypatch.setattr(Lanes, "_worth", counted_worth)
    lanes = lanes_of(*(labels(f"a{number}", lanes=1) for number in range(1000)))
    lanes.give(lanes.take(Need(), Control()))
    assert asked == {"fits": 1000, "worth": 1001}  # each once, and the one that was given back

    taken = [lanes.take(Need(), Control()) for _ in range(500)]
    for lane in taken:
        lanes.give(lane)
    assert asked == {"fits": 1000, "worth": 1501}

    lanes.fleet.found.append(labels("late"))  # type: ignore[attr-defined]
    lanes.give(lanes.take(Need(), Control()))
    assert asked["fits"] == 1001


def test_what_was_taken_and_given_back_often_takes_no_memory():
    lanes = lanes_of(labels("a", lanes=4), labels("b", lanes=4))

    for _ in range(1000):
        lanes.give(lanes.take(Need(), Control()))

    (pool,) = lanes._pools.values()
    assert len(pool.heap) < 100


def test_agents_that_left_get_nothing():
    lanes = lanes_of(labels("a"), labels("b"))
    lanes.give(lanes.take(Need(), Control()))
    del lanes.fleet.found[0]  # type: ignore[attr-defined]

    assert [str(lanes.take(Need(), Control())) for _ in range(2)] == ["b", "b"]


def test_an_agent_that_is_left_out_gets_nothing_more():
    lanes = lanes_of(labels("a"))
    lane = lanes.take(Need(), Control())
    lanes.leave_out(lane.agent, "cannot be dialled")
    lanes.give(lane)

    with pytest.raises(FleetError, match="no agent of the fleet can do a step"):
        lanes.take(Need(), Control())


def test_work_of_different_needs_shares_the_lanes():
    lanes = lanes_of(labels("a", lanes=1), labels("b", packages={"onnx": "1.20.0", "torch": "2.8"}, lanes=1))
    picky = Need({"torch": "2.8"})

    first = lanes.take(picky, Control())
    second = lanes.take(Need(), Control())

    assert (str(first), str(second)) == ("b", "a")
    threading.Timer(0.1, lanes.give, [second]).start()
    assert str(lanes.take(Need(), Control())) == "a"
    threading.Timer(0.1, lanes.give, [first]).start()
    assert str(lanes.take(picky, Control())) == "b"


def test_many_threads_never_use_more_lanes_than_there_are():
    lanes, using, most = (
        lanes_of(labels("a", lanes=2), labels("b", gpus=(T4, L4), lanes=1)),
        Counter[str](),
        Counter[str](),
    )
    mutex = threading.Lock()

    def work(number: int) -> None:
        need = Need(gpu=GpuNeed()) if number % 2 else Need()
        for _ in range(200):
            lane = lanes.take(need, Control())
            with mutex:
                using[str(lane)] += 1
                most[str(lane)] = max(most[str(lane)], using[str(lane)])
            with mutex:
                using[str(lane)] -= 1
            lanes.give(lane)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)

    assert not any(one.is_alive() for one in threads)
    assert most["a"] <= 2 and most["b"] <= 1 and most["b gpu 0"] <= 1 and most["b gpu 1"] <= 1
