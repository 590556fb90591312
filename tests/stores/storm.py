"""Processes that build and collect garbage in one store at once and are killed at random; then the store is examined.

Run as a script, it prints what it found as JSON. A build is an action through the real dispatcher and the real store,
whose body writes a few files that follow from its key; many actions yield the same bytes. Children are forked, so that
a process costs a millisecond.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import filelock  # noqa: F401 - loaded once, before the forks

from trtpipe.building.silent import Unheard
from trtpipe.digests import Digest
from trtpipe.errors import ArtifactMissing, StoreError
from trtpipe.executors.local import LocalExecutor
from trtpipe.plan.address import address
from trtpipe.plan.control import Control
from trtpipe.plan.dispatcher import Dispatcher
from trtpipe.plan.graph import Action, Step, action_of
from trtpipe.plan.options import UNPLACED, ImportOptions
from trtpipe.plan.ports import ActionResult
from trtpipe.stores.collector import Limits, Roots, collect
from trtpipe.stores.local import LocalStore
from trtpipe.stores.verification import verify

ACTIONS = 200
CONTENTS = 90
GRACE = 0.6
SURE = GRACE / 2
"""Seconds within which what was just made must still be there."""


def action(number: int) -> Action:
    options = ImportOptions(parser="onnx", parser_version=number, options={}, origins=UNPLACED)
    return action_of(Step(address("import", f"a{number}"), options, {}, {}), {})


def content(number: int, file: int) -> bytes:
    seed = (number * 7 + file) % CONTENTS
    return b"%d\n" % seed * (1 + seed * 200)


def perform(act: Action, scratch: Path, control: Control) -> ActionResult:
    number = act.fingerprint.options["parser_version"]
    files = {}
    for file in range(1 + number % 3):
        files[f"out{file}"] = scratch / f"out{file}"
        files[f"out{file}"].write_bytes(content(number, file))
    return ActionResult(files)


def build(store: LocalStore, seconds: float, dice: random.Random, out: Path) -> dict[str, int]:
    """Run random actions and use what they yield; what is wrong is written down at once, for a kill may come."""
    counts = {"ran": 0, "known": 0, "made again": 0}
    told = out.parent / f"counts-{os.getpid()}"
    dispatcher = Dispatcher(store, LocalExecutor(store, perform), jobs=2, observer=Unheard())
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        number = dice.randrange(ACTIONS)
        began = time.monotonic()
        done = dispatcher.submit(action(number)).result()
        counts["ran" if done.ran else "known"] += 1
        told.write_text(json.dumps(counts))
        for name, digest in done.trace.outputs.items():
            try:
                store.fetch(digest, out / name)
            except ArtifactMissing:
                if done.ran and time.monotonic() - began < SURE:
                    wrong(out, f"a{number} lost {name} as soon as it was made")
                counts["made again"] += 1
                break
            if (out / name).read_bytes() != content(number, int(name[3:])):
                wrong(out, f"a{number} got other bytes for {name}")
    dispatcher.close()
    return counts


def gather(store: LocalStore, seconds: float, dice: random.Random) -> dict[str, int]:
    counts = {"collections": 0, "went": 0}
    told = store.root.parent / f"counts-{os.getpid()}"
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        limits = Limits(older_than=dice.choice((0.0, 1.0)), grace=GRACE)
        if dice.random() < 0.3:
            limits = Limits(max_size=50_000, grace=GRACE)
        try:
            counts["went"] += len(collect(store, Roots(), limits).artifacts)
            counts["collections"] += 1
            told.write_text(json.dumps(counts))
        except StoreError as error:
            if "at work" not in str(error):
                raise
        time.sleep(dice.random() * 0.2)
    return counts


def wrong(out: Path, text: str) -> None:
    with (out.parent / f"wrong-{os.getpid()}").open("a") as file:
        file.write(text + "\n")


def child(root: Path, number: int, seconds: float, seed: int, locks: bool) -> int:
    """Fork one; every fourth collects garbage."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        store, dice = LocalStore(root / "store", lock_files=locks), random.Random(seed)
        out = root / f"out{number}"
        out.mkdir(exist_ok=True)
        if number % 4 == 1:
            gather(store, seconds, dice)
        else:
            build(store, seconds, dice, out)
        code = 0
    except BaseException:
        import traceback

        wrong(root / "x", traceback.format_exc())
    finally:
        os._exit(code)


def storm(root: Path, processes: int, seconds: float, seed: int, locks: bool) -> dict[str, object]:
    """Let them loose, kill one every now and then and start another; then look at what is left."""
    dice, ends = random.Random(seed), time.monotonic() + seconds
    running = {child(root, n, seconds, seed + n, locks): n for n in range(processes)}
    killed = 0
    while time.monotonic() < ends:
        time.sleep(0.1 + dice.random() * 0.4)
        pid = dice.choice(list(running))
        number = running.pop(pid)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        killed += 1
        seed += 1
        running[child(root, number, max(0.1, ends - time.monotonic()), seed * 1000, locks)] = number
    late = time.monotonic() + 60
    while running and time.monotonic() < late:
        pid, _ = os.waitpid(-1, os.WNOHANG)
        running.pop(pid, None)
        time.sleep(0.02 if not pid else 0)
    for pid in running:  # a deadlock
        os.kill(pid, signal.SIGKILL)
    return {"killed": killed, "stuck": len(running), **examined(root, locks)}


def examined(root: Path, locks: bool) -> dict[str, object]:
    store = LocalStore(root / "store", lock_files=locks)
    began = time.monotonic()
    out = root / "last"
    out.mkdir()
    dispatcher = Dispatcher(store, LocalExecutor(store, perform), jobs=2, observer=Unheard())
    lost = []
    for number in range(ACTIONS):
        trace = dispatcher.submit(action(number)).result(timeout=30).trace
        lost += [f"a{number}" for digest in trace.outputs.values() if not whole(store, digest, out / "x")]
    dispatcher.close()
    totals: dict[str, int] = {}
    for path in root.glob("counts-*"):
        for name, count in json.loads(path.read_text() or "{}").items():
            totals[name] = totals.get(name, 0) + count
    left = [path.name for path in (store.root / "tmp").iterdir()]
    return {
        "wrong": [path.read_text() for path in root.glob("wrong-*")],
        "lost": lost,
        "damaged": verify(store).damaged,
        "left": left,
        "seconds to build all again": round(time.monotonic() - began, 2),
        **totals,
    }


def whole(store: LocalStore, digest: Digest, target: Path) -> bool:
    store.fetch(digest, target)
    return True


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("--processes", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--actions", type=int, default=ACTIONS)
    parser.add_argument("--lock-files", action="store_true")
    asked = parser.parse_args()
    ACTIONS = asked.actions
    shutil.rmtree(asked.root, ignore_errors=True)
    asked.root.mkdir(parents=True)
    json.dump(
        storm(asked.root, asked.processes, asked.seconds, asked.seed, asked.lock_files), sys.stdout, indent=1
    )
