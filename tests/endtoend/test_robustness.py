"""Whatever happens to a build, nothing is lost, nothing is half-written, and the next build completes it."""

from __future__ import annotations

import collections
import json
import os
import pty
import resource
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from onnx import TensorProto, helper

from tests import projects
from tests.endtoend import wholeness
from trtpipe.building import build
from trtpipe.building.lock_writer import refresh_lock
from trtpipe.building.outcome import Outcome
from trtpipe.building.planned import make_plan
from trtpipe.building.silent import Unheard
from trtpipe.errors import Interrupted
from trtpipe.workspace.workspace import open_workspace

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="not run: looks into /proc")

SPEC = projects.SPEC.replace("  ampere: {gpu: sm86}\n", "") + "validate: {random: {seed: 0, samples: 4}}\n"
STEPS = 11


def make(root, env=None):
    return projects.make_project(root, SPEC, env)


def slow(value):
    return pytest.param(value, marks=pytest.mark.slow)


@pytest.fixture
def fresh(tmp_path):
    return make(tmp_path / "project")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    project = make(tmp_path_factory.mktemp("done") / "project")
    assert project.run("build").code == 0
    return project


@pytest.fixture
def again(done, new_project, tmp_path):
    """A copy of a project that was built, with nothing to do."""
    project = new_project(tmp_path / "copy")
    shutil.copytree(done.root, project.root, symlinks=True, dirs_exist_ok=True)
    assert project.run("build").code == 0
    return project


def wait_for(process, text):
    """Read progress until a line begins with `text`; what was read."""
    seen = []
    for line in process.stderr:
        seen.append(line)
        if line.startswith(text):
            return seen
    raise AssertionError(f"no {text!r} in {seen}")


def ended(process):
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in err, err
    return process.returncode, out, err


def assert_whole_then_complete(project, done):
    """Nothing survives and nothing is half-written; the next build gives what a clean one gives and cleans up."""
    assert wholeness.survivors(project.root) == []
    assert wholeness.defects(project.root) == []
    following = project.run("build")
    assert following.code == 0, following.err
    assert wholeness.delivered_bytes(project.root) == wholeness.delivered_bytes(done.root)
    assert wholeness.leftovers(project.root) == []


# -- signals --------------------------------------------------------------------------------------------------------


MOMENTS = [
    pytest.param("start    digits:import", marks=pytest.mark.slow, id="import"),
    pytest.param("start    digits/fp16:quantize", marks=pytest.mark.slow, id="quantize"),
    pytest.param("start    digits/fp32@ada:build_engine", id="build_engine"),
]


@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_stops_cleanly_and_keeps_what_is_finished(fresh, done, moment):
    process = fresh.start("build")
    wait_for(process, moment)
    process.send_signal(signal.SIGINT)

    code, _, err = ended(process)

    assert code == 130
    assert err.endswith("interrupted\n  finished steps are kept; run it again to continue\n")
    assert "FAILED" not in err
    assert_whole_then_complete(fresh, done)


@pytest.mark.parametrize(
    "module", ["trtpipe.cli.starting.shortcut", "trtpipe.cli.main", "trtpipe.loader.specs"]
)
def test_ctrl_c_before_anything_runs_is_one_word(fresh, tmp_path, module):
    """It comes while a module is imported, from the first one after Python has started to those that read the spec."""
    hook = tmp_path / "sitecustomize.py"
    hook.write_text(
        "import os, signal, sys\n"
        "class Hook:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == '{module}':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Hook())\n"
    )
    fresh.env["PYTHONPATH"] = f"{tmp_path}:{fresh.environment()['PYTHONPATH']}"

    ran = fresh.run("build")

    assert (ran.code, ran.out, ran.err) == (130, "", "interrupted\n")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda one: one.name)
def test_any_moment_will_do(tmp_path, done, number):
    for index in range(15):
        project = make(tmp_path / str(index))
        process = project.start("build")
        time.sleep(0.05 + 0.2 * index)
        process.send_signal(number)
        process.communicate(timeout=60)
        assert_whole_then_complete(project, done)


@pytest.mark.slow
def test_ctrl_c_twice_ends_at_once(fresh, done):
    process = fresh.start("build")
    wait_for(process, "start    digits/fp32@ada:build_engine")
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)

    assert ended(process)[0] == 130
    assert_whole_then_complete(fresh, done)


def test_ctrl_c_while_a_build_sums_up_does_not_cost_the_lockfile(again, monkeypatch):
    monkeypatch.chdir(again.root)
    (again.root / "trtpipe.lock").unlink()
    shutil.rmtree(again.root / "build")

    def pressed(*arguments):
        signal.raise_signal(signal.SIGINT)
        return refresh_lock(*arguments)

    monkeypatch.setattr(build, "refresh_lock", pressed)
    outcome = Outcome()
    with pytest.raises(Interrupted):
        build.run_build(make_plan(open_workspace(())), Unheard(), outcome, build.HowToBuild(jobs=1))

    assert outcome.lock_changed
    assert again.run("build").out == "nothing to do\n"


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_build_leaves_no_process_and_is_completed_by_the_next(fresh, done, moment):
    process = fresh.start("build")
    wait_for(process, moment)
    process.kill()
    process.communicate(timeout=60)

    assert_whole_then_complete(fresh, done)


def victim(project, worker):
    """The process id of a stage's child, or of an engine worker, as soon as there is one."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                inside = (entry / "cwd").readlink().is_relative_to(project.root / ".trtpipe")
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if inside and (b"\0worker\0" if worker else b"trtpipe.processes.") in command:
                return int(entry.name)
        time.sleep(0.005)
    raise AssertionError("it never ran")


@pytest.mark.parametrize("number", [slow(signal.SIGKILL), signal.SIGSEGV], ids=["SIGKILL", "SIGSEGV"])
def test_a_stage_that_dies_fails_its_step_with_one_clear_error(fresh, done, number):
    process = fresh.start("build", "--keep-going")
    os.kill(victim(fresh, worker=False), number)

    code, out, err = ended(process)

    assert code == 1
    assert err.count(f"was ended by {number.name}") == 1
    assert ", 1 failed, 2 not built in " in out
    assert_whole_then_complete(fresh, done)


@pytest.mark.parametrize(
    "number",
    [signal.SIGKILL, slow(signal.SIGSEGV), slow(signal.SIGTERM)],
    ids=["SIGKILL", "SIGSEGV", "SIGTERM"],
)
def test_a_worker_that_dies_fails_its_cell_and_others_go_on(fresh, done, number):
    process = fresh.start("build", "--keep-going")
    os.kill(victim(fresh, worker=True), number)

    code, out, err = ended(process)

    assert code == 1
    assert out.startswith("built 1 engine, 1 failed")
    assert err.count(" failed:\n") == 1
    assert number.name in err or "stopped by an external signal" in err
    assert_whole_then_complete(fresh, done)


def test_ctrl_c_on_a_terminal_gives_the_terminal_back(fresh):
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        fresh.command("build"),
        cwd=fresh.root,
        env=fresh.environment() | {"TERM": "xterm", "COLUMNS": "40"},
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
    )
    os.close(follower)
    shown = b""
    pressed = False
    while process.poll() is None or select.select([leader], [], [], 0.2)[0]:
        if select.select([leader], [], [], 0.2)[0]:
            try:
                shown += os.read(leader, 65536)
            except OSError:
                break
        if not pressed and b"quantize" in shown:
            process.send_signal(signal.SIGINT)
            pressed = True
    os.close(leader)

    assert process.wait() == 130
    assert b"interrupted" in shown
    assert shown.rfind(b"\x1b[?25h") > shown.rfind(b"\x1b[?25l") >= 0, "the cursor is shown again"
    assert wholeness.survivors(fresh.root) == []


# -- disks ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk():
    """Mounts a small file system at a path; skips where that is not permitted."""
    mounted = []

    def mount(path, size):
        path.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
        if (
            shutil.which("mount") is None
            or subprocess.run(command, capture_output=True, check=False).returncode
        ):
            pytest.skip("not run: this user may not mount file systems")
        mounted.append(path)
        return lambda larger: subprocess.run(
            ["mount", "-o", f"remount,size={larger}", str(path)], check=True, capture_output=True
        )

    yield mount
    for path in mounted:
        subprocess.run(["umount", "-l", str(path)], check=False, capture_output=True)


@pytest.mark.parametrize("place", ["store", slow("build"), slow("project")])
def test_a_full_disk_loses_nothing_and_says_so(tmp_path, done, small_disk, place):
    root = tmp_path / "project"
    store = tmp_path / "store" if place == "store" else None
    mounts = {"store": tmp_path / "store", "build": root / "build", "project": root}
    project = make(root, {"TRTPIPE_STORE": str(store)} if store else None)
    if place == "project":
        shutil.move(root, tmp_path / "moved")
    enlarge = small_disk(mounts[place], "400k")
    if place == "project":
        shutil.copytree(tmp_path / "moved", root, dirs_exist_ok=True)

    full = project.run("build", "--keep-going")

    assert full.code == 1
    assert "no space left on" in full.err.lower()
    assert "Traceback" not in full.err
    assert wholeness.defects(root, store) == []
    enlarge("20m")
    freed = project.run("build")
    assert freed.code == 0, freed.err
    assert wholeness.delivered_bytes(root) == wholeness.delivered_bytes(done.root)


@pytest.mark.slow
def test_a_limit_on_file_sizes_is_one_clear_error(fresh, done):
    limited = subprocess.run(
        fresh.command("build", "--keep-going"),
        cwd=fresh.root,
        env=fresh.environment(),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY)),
    )

    assert limited.returncode == 1
    assert "file too large" in limited.stderr.lower()
    assert "Traceback" not in limited.stderr
    assert_whole_then_complete(fresh, done)


@pytest.fixture
def read_only():
    """Makes a directory read-only, for root too; skips where that is not permitted."""
    mounted = []

    def freeze(path):
        for options in (["--bind", str(path), str(path)], ["-o", "remount,ro,bind", str(path)]):
            command = ["mount", *options]
            if (
                shutil.which("mount") is None
                or subprocess.run(command, capture_output=True, check=False).returncode
            ):
                pytest.skip("not run: this user may not mount file systems")
            mounted.append(path)

    yield freeze
    for path in dict.fromkeys(mounted):
        subprocess.run(["umount", "-l", str(path)], check=False, capture_output=True)


def test_a_read_only_store_restores_and_says_what_a_build_needs(again, read_only):
    read_only(again.root / ".trtpipe" / "store")

    idle = again.run("build")
    shutil.rmtree(again.root / "build")
    restored = again.run("build")
    forced = again.run("build", "--force")

    assert idle.out == "nothing to do\n"
    assert (restored.code, restored.out[:26]) == (0, "built 0 engines, 2 restore")
    assert wholeness.defects(again.root) == []
    assert forced.code == 2
    assert "cannot write to" in forced.err
    assert "point $TRTPIPE_STORE to a directory that you may write" in forced.err


@pytest.mark.slow
def test_a_read_only_project_still_checks_and_has_nothing_to_do(again, read_only):
    read_only(again.root)

    assert again.run("build").out == "nothing to do\n"
    assert again.run("check").code == 0
    refused = again.run("init", "models/digits.onnx", "--output", "x.yaml")
    assert (refused.code, refused.err) == (2, "cannot write x.yaml: read-only file system\n")


# -- damage ---------------------------------------------------------------------------------------------------------


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    with path.open("r+b") as file:  # in place: a hard link in build/ is damaged with it
        file.write(data)


def truncate(path):
    path.chmod(0o644)
    os.truncate(path, path.stat().st_size // 2)


DAMAGE = {"a flipped bit": flip, "a cut end": truncate, "a deleted file": Path.unlink}


@pytest.mark.parametrize("damage", ["a flipped bit", slow("a cut end"), slow("a deleted file")])
def test_damaged_artifacts_are_never_delivered_and_made_again_in_one_build(again, done, damage):
    for path in (again.root / ".trtpipe" / "store" / "objects").glob("*/*"):
        DAMAGE[damage](path)
    shutil.rmtree(again.root / "build")

    healed = again.run("build")

    assert healed.code == 0, healed.err
    if damage == "a flipped bit":
        assert "warning: artifact " in healed.err
        assert "it was put into quarantine and is made again" in healed.err
    assert wholeness.delivered_bytes(again.root) == wholeness.delivered_bytes(done.root)
    assert again.run("build").out == "nothing to do\n"


def test_damaged_inputs_of_a_changed_step_are_made_again(again):
    for path in (again.root / ".trtpipe" / "store" / "objects").glob("*/*"):
        flip(path)
    again.edit("pipelines/digits.yaml", "opt: 16x1x8x8", "opt: 8x1x8x8")

    healed = again.run("build")

    assert healed.code == 0, healed.err
    assert again.run("build").out == "nothing to do\n"


@pytest.mark.slow
def test_a_damaged_trace_is_put_aside_and_made_again(again, done):
    for path in (again.root / ".trtpipe" / "store" / "traces").glob("*/*"):
        path.write_bytes(path.read_bytes().replace(b'"sm89"', b'"sm75"').replace(b"float32", b"float64"))
    shutil.rmtree(again.root / "build")

    healed = again.run("build")

    assert healed.code == 0, healed.err
    assert "warning: trace " in healed.err
    assert again.manifest()["compute_capabilities"] == ["sm89"]
    assert wholeness.delivered_bytes(again.root) == wholeness.delivered_bytes(done.root)


@pytest.mark.parametrize("text", ["", "{}", "garbage", None])
def test_a_damaged_state_is_as_good_as_none(again, text):
    state = again.root / ".trtpipe" / "state.json"
    if text is None:
        flip(state)
    else:
        state.write_text(text)

    built = again.run("build", "--json")

    assert (built.code, built.ran) == (0, [])
    assert again.run("build").out == "nothing to do\n"


@pytest.mark.slow
def test_what_stands_in_the_way_of_the_state_is_told_with_its_remedy(fresh):
    state = fresh.root / ".trtpipe" / "state.json"
    state.mkdir(parents=True)

    refused = fresh.run("build")

    assert refused.code == 2
    assert refused.err.endswith(f"cannot write {state}: is a directory; nothing was lost\n")
    state.rmdir()
    assert fresh.run("build").code == 0


def test_a_lockfile_that_cannot_be_merged_is_refused_before_anything_is_built(again):
    lock = again.root / "trtpipe.lock"
    lines = lock.read_text().splitlines()
    lock.write_text("\n".join([*lines[:4], "<<<<<<< HEAD", *lines[4:]]) + "\n")
    again.edit("pipelines/digits.yaml", "opt: 16x1x8x8", "opt: 8x1x8x8")

    refused = again.run("build")

    assert refused.code == 2
    assert f"{lock}:5:1: the lockfile {lock} contains a merge conflict" in refused.err
    assert "start " not in refused.err


def test_a_newer_lockfile_is_left_alone(again):
    lock = again.root / "trtpipe.lock"
    newer = lock.read_text().replace("schema: 3", "schema: 4")
    lock.write_text(newer)

    refused = again.run("build")

    assert refused.code == 2
    assert "has schema 4, this trtpipe knows schema 3" in refused.err
    assert lock.read_text() == newer


@pytest.mark.slow
def test_a_build_of_one_cell_keeps_the_facts_of_the_others(again):
    lock = (again.root / "trtpipe.lock").read_text()

    again.run("build", "--only", "*/fp16@ada", "--force")

    assert (again.root / "trtpipe.lock").read_text() == lock


def test_what_stands_in_the_way_of_a_cell_is_told_and_kept(again):
    cell = again.root / "build" / "digits" / "fp32@ada"
    shutil.rmtree(cell)
    cell.write_text("mine")

    refused = again.run("build")

    assert refused.code == 1
    assert "another file is in the way: move it away and build again" in refused.err
    assert cell.read_text() == "mine"


# -- company --------------------------------------------------------------------------------------------------------


def together(projects, *arguments):
    """Run builds at the same time; how often each step ran in all of them."""
    processes = [project.start("build", "--json", *arguments) for project in projects]
    ran = collections.Counter()
    for process in processes:
        code, out, err = ended(process)
        assert code == 0, err
        events = [json.loads(line) for line in out.splitlines()]
        ran.update(event["address"] for event in events if event["event"] == "done" and event["ran"])
    return ran


@pytest.mark.parametrize("count", [2, slow(4)])
def test_builds_of_one_project_at_once_build_each_engine_once(fresh, done, count):
    ran = together([fresh] * count)

    assert (len(ran), set(ran.values())) == (STEPS, {1})
    assert wholeness.defects(fresh.root) == []
    assert wholeness.delivered_bytes(fresh.root) == wholeness.delivered_bytes(done.root)
    assert fresh.run("build").out == "nothing to do\n"


@pytest.mark.slow
def test_builds_of_different_cells_at_once_leave_a_complete_lockfile(fresh, done):
    processes = [fresh.start("build", "--only", f"*/{one}@ada") for one in ("fp32", "fp16")]

    assert [ended(process)[0] for process in processes] == [0, 0]
    assert list(yaml.safe_load((fresh.root / "trtpipe.lock").read_text())["cells"]) == [
        "digits/fp16@ada",
        "digits/fp32@ada",
    ]
    assert fresh.run("build").out == "nothing to do\n"


@pytest.mark.slow
def test_projects_that_share_a_store_share_the_work(tmp_path):
    env = {"TRTPIPE_STORE": str(tmp_path / "store")}
    projects = [make(tmp_path / name, env) for name in ("one", "two")]

    ran = together(projects)

    assert set(ran.values()) == {1}
    one, two = (wholeness.delivered_bytes(project.root) for project in projects)
    assert one == two
    assert len(one) == 5


# -- size -----------------------------------------------------------------------------------------------------------

SIDE = 16384
BIG = """\
schema: 1
pipeline: big
model: {source: models/big.onnx}
variants:
  fp32: {}
  fp16: {precision: fp16}
targets:
  ada: {gpu: rtx4090}
builder: {memory_limit: 1GiB}
validate: {random: {seed: 0, samples: 2}}
"""


def write_big_model(folder):
    """Three MatMuls of 1 GiB each, their weights in a file that is mostly a hole."""
    size = SIDE * SIDE * 4
    random = np.random.default_rng(0)
    nodes, weights, before = [], [], "x"
    with (folder / "big.onnx.data").open("wb") as data:
        data.truncate(3 * size)
        for index in range(3):
            for row in range(0, SIDE, SIDE // 4):
                data.seek(index * size + row * SIDE * 4)
                data.write((random.standard_normal(SIDE) / 64).astype(np.float32).tobytes())
            weight = TensorProto(
                name=f"w{index}",
                data_type=TensorProto.FLOAT,
                dims=[SIDE, SIDE],
                data_location=TensorProto.EXTERNAL,
            )
            for key, value in (("location", "big.onnx.data"), ("offset", index * size), ("length", size)):
                weight.external_data.add(key=key, value=str(value))
            weights.append(weight)
            after = f"h{index}"
            nodes.append(helper.make_node("MatMul", [before, weight.name], [after], name=f"matmul{index}"))
            before = after
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, SIDE]) for name in ("x", before)]
    graph = helper.make_graph(nodes, "big", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "big.onnx").write_bytes(model.SerializeToString())
    return 3 * size


@pytest.mark.slow
def test_a_model_of_3_gb_takes_its_size_in_memory(new_project, tmp_path):
    """Resident memory, file pages included."""
    if shutil.disk_usage(tmp_path).free < 20 << 30:
        pytest.skip("not run: needs 20 GiB of disk")
    project = new_project(tmp_path / "project")
    project.write("pipelines/big.yaml", BIG)
    (project.root / "models").mkdir()
    size = write_big_model(project.root / "models")

    built = project.run("build", "--json", "--keep-going", "--jobs", "1", timeout=900)

    peaks = {
        event["address"]: event["summary"]["peak_rss"] / size
        for event in built.events
        if event["event"] == "done" and event["ran"]
    }
    assert set(peaks) == {
        "big:import",
        *(f"big/{v}:{s}" for v in ("fp32", "fp16") for s in ("quantize", "validate")),
    }
    assert max(peaks.values()) < 1.3, peaks
    failed = [event for event in built.events if event["event"] == "failed"]
    assert ["memory, more than the limit of" in event["problems"][0] for event in failed] == [True, True]
