"""Equal requests give equal engines, whatever surrounds the process that builds them, and whatever interpreter runs it.

The network is one whose engine varies in an ordinary process: a dynamic batch, and large enough feature maps. A second
one, with dynamic height and width, gives work to TensorRT's own threads unless the worker tells it not to.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import models
from tests.worker_requests import worker_request
from trtpipe.digests import digest_file
from trtpipe.toolchains.engine_digest import normalised_digest
from trtpipe.toolchains.engine_worker.launch import WORKER, run_worker
from trtpipe.toolchains.engine_worker.watch import Supervision
from trtpipe.toolchains.engine_worker.worker import TUNABLES

pytestmark = pytest.mark.engine

INTERPRETERS = "TRTPIPE_TEST_INTERPRETERS"  # "PYTHON=SITE" pairs, separated by the system's path separator
SHAPES = {"min": [1, 3, 224, 224], "opt": [4, 3, 224, 224], "max": [8, 3, 224, 224]}
THREADED = Path(__file__).resolve().parents[3] / "shared/testdata/onnx/real/ppocr_cls.onnx"
THREADED_SHAPES = {"min": [1, 3, 48, 64], "opt": [2, 3, 48, 192], "max": [4, 3, 64, 320]}
BUSY = "while True: sum(range(20_000))"
BURSTS = """
import random, time
while True:
    until = time.perf_counter() + random.random() / 100
    while time.perf_counter() < until: pass
    time.sleep(random.random() / 100)
"""
RAW = """
import os, sys
sys.path += sys.argv[2:]
import tensorrt_rtx as trt
logger = trt.Logger(trt.Logger.ERROR)
builder = trt.Builder(logger)
network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
network.name = "net"
parser = trt.OnnxParser(network, logger)
assert parser.parse_from_file("model.onnx")
config = builder.create_builder_config()
config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, 1 << 30)
config.set_memory_pool_limit(trt.MemoryPoolType.TACTIC_SHARED_MEMORY, 1 << 30)
config.num_compute_capabilities = 1
config.set_compute_capability(trt.ComputeCapability.SM89, 0)
profile = builder.create_optimization_profile()
profile.set_shape("x", *((n, 3, 224, 224) for n in (1, 4, 8)))
config.add_optimization_profile(profile)
with open(sys.argv[1], "wb") as file:
    file.write(builder.build_serialized_network(network, config))
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.resnet50_like(tmp_path_factory.mktemp("model") / "model.onnx", width=0.25)


def request(site, shapes):
    return worker_request([site], profiles=[{"x": shapes}], options={"tf32": True})  # as RAW leaves it


def build(folder, model, site, python=sys.executable, shapes=SHAPES):
    """Build in `folder` with the environment of the moment; the engine's path and whether addresses were fixed."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").hardlink_to(model)
    result = run_worker([python], request(site, shapes), folder, Supervision())
    return folder / "model.engine", result.facts["address_randomisation"] == "off"


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, model: Path, rtx_site: str) -> Path:
    engine, fixed = build(tmp_path_factory.mktemp("reference"), model, rtx_site)
    if not fixed:
        pytest.skip("this system does not let a process switch address randomisation off")
    return engine


@pytest.mark.parametrize(
    "surroundings",
    [
        ("again", {}),
        ("deep/" * 20 + "er", {}),
        ("home", {"HOME": "/nonexistent", "LANG": "de_DE.UTF-8", "LC_ALL": "C", "TZ": "Asia/Tokyo"}),
        ("large", {f"VARIABLE_{number}": "x" * 1000 for number in range(50)}),
        ("path", {"PATH": os.environ.get("PATH", "") + os.pathsep + "/x" * 5000}),
        ("hash", {"PYTHONHASHSEED": "7", "PYTHONMALLOC": "malloc", "MALLOC_ARENA_MAX": "1"}),
        ("tf32", {"NVIDIA_TF32_OVERRIDE": "0"}),
    ],
    ids=lambda surroundings: surroundings[0][:5],
)
def test_surroundings_do_not_change_the_bytes(
    reference, tmp_path, model, rtx_site, monkeypatch, surroundings
):
    place, environment = surroundings
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    engine, _ = build(tmp_path / place, model, rtx_site)

    assert digest_file(engine) == digest_file(reference)


def test_builds_at_the_same_time_give_the_same_bytes(reference, tmp_path, model, rtx_site):
    with ThreadPoolExecutor(2) as pool:
        built = list(pool.map(lambda name: build(tmp_path / name, model, rtx_site), ("one", "two")))

    assert {digest_file(engine) for engine, _ in built} == {digest_file(reference)}


def test_the_pace_of_minding_does_not_change_the_bytes(reference, tmp_path, model, rtx_site, monkeypatch):
    source = WORKER.read_text()
    busy = source.replace("WATCH_SECONDS = 0.1", "WATCH_SECONDS = 0.003").replace(
        "now - reported >= 1", "True"
    )
    assert busy.count("0.003") == 1 and "reported >= 1" not in busy
    (tmp_path / "busy.py").write_text(busy)
    monkeypatch.setattr("trtpipe.toolchains.engine_worker.launch.WORKER", tmp_path / "busy.py")

    with ThreadPoolExecutor(3) as pool:
        built = list(pool.map(lambda name: build(tmp_path / name, model, rtx_site), "abcdef"))

    assert {digest_file(engine) for engine, _ in built} == {digest_file(reference)}


@contextlib.contextmanager
def busy_machine():
    """Others compute meanwhile, some without end and some in short bursts."""
    others = [subprocess.Popen([sys.executable, "-c", code]) for code in (BUSY, BURSTS) * 2]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


@pytest.mark.parametrize("count", [8, pytest.param(200, marks=pytest.mark.slow)])
def test_a_busy_machine_does_not_change_the_bytes(reference, tmp_path, rtx_site, count):
    """Were its work left to other threads, every second build of this network would differ."""
    if not THREADED.exists():
        pytest.skip(f"the shared test data ({THREADED.name}) are not here")
    shutil.copy(THREADED, tmp_path / "threaded.onnx")

    def digest(number):
        engine, _ = build(
            tmp_path / str(number), tmp_path / "threaded.onnx", rtx_site, shapes=THREADED_SHAPES
        )
        return digest_file(engine)

    with busy_machine(), ThreadPoolExecutor(2) as pool:
        digests = list(pool.map(digest, range(count)))

    assert len(set(digests)) == 1


def test_an_ordinary_process_varies_in_generated_names_only(reference, tmp_path, model, rtx_site):
    (tmp_path / "model.onnx").hardlink_to(model)
    randomised = Path("/proc/sys/kernel/randomize_va_space").read_text().strip() == "2"
    bytes_seen, digests = set(), set()
    for number in range(12 if randomised else 2):  # two in a row are equal now and then
        engine = tmp_path / f"raw{number}"
        command = [sys.executable, "-c", RAW, str(engine), rtx_site]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        bytes_seen.add(digest_file(engine))
        digests.add(normalised_digest(engine))
        if len(bytes_seen) > 1:
            break

    assert digests == {normalised_digest(reference)}
    assert len(bytes_seen) == 1 + randomised


def other_interpreter(minor):
    """The command and the packages of an interpreter with tensorrt_rtx; skips where there is none."""
    pairs = [pair.split("=") for pair in os.environ.get(INTERPRETERS, "").split(os.pathsep) if pair]
    usual = shutil.which(f"python3.{minor}")
    for python, site in [*pairs, *([(usual, "")] if usual else [])]:
        code = (
            f"import sys; sys.path += [{site!r}]; import tensorrt_rtx as trt; "
            "print(sys.version_info.minor, trt.__version__, sys.path[-1] or trt.__path__[0].rpartition('/')[0])"
        )
        done = subprocess.run([python, "-B", "-c", code], capture_output=True, text=True, check=False)
        said = done.stdout.split(maxsplit=2)
        if not done.returncode and said[:2] == [str(minor), importlib.metadata.version("tensorrt_rtx_cu13")]:
            return python, site or said[2].strip()
    return pytest.skip(
        f"not run: needs python3.{minor} with this tensorrt_rtx (or name one in {INTERPRETERS})"
    )


@pytest.mark.parametrize("minor", [10, 11, 12, 13])
def test_another_interpreter_gives_the_same_bytes(reference, tmp_path, model, rtx_site, minor):
    """Of the second network, not even the normalised digest would be the same without fixed addresses."""
    python, site = other_interpreter(minor)

    engine, _ = build(tmp_path / "one", model, site, python)

    assert digest_file(engine) == digest_file(reference)
    if THREADED.exists():
        shutil.copy(THREADED, tmp_path / "threaded.onnx")
        here, _ = build(tmp_path / "here", tmp_path / "threaded.onnx", rtx_site, shapes=THREADED_SHAPES)
        there, _ = build(tmp_path / "there", tmp_path / "threaded.onnx", site, python, THREADED_SHAPES)
        assert digest_file(there) == digest_file(here)


def run_worker_script(folder, model, site, prepare=None):
    """Build where nothing switches randomisation off, which the second argument keeps; the worker's last event."""
    folder.mkdir()
    (folder / "model.onnx").hardlink_to(model)
    (folder / "request.json").write_text(json.dumps(request(site, SHAPES).to_json()))
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", str(WORKER), "request.json", "again"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "GLIBC_TUNABLES": TUNABLES},
        stdout=subprocess.PIPE,
        preexec_fn=prepare,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process fix its addresses")
def test_randomised_addresses_do_not_change_the_bytes(reference, tmp_path, model, rtx_site):
    for number in range(3):
        result = run_worker_script(tmp_path / str(number), model, rtx_site)

        assert (result["address_randomisation"], result["addresses"]) == ("on", "fixed")
        assert digest_file(tmp_path / str(number) / "model.engine") == digest_file(reference)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has this limit")
def test_a_limited_address_space_builds_the_same_up_to_generated_names(reference, tmp_path, model, rtx_site):
    import resource

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (64 << 30, 64 << 30))

    result = run_worker_script(tmp_path / "limited", model, rtx_site, limit)

    assert result["addresses"] == "varying"
    assert normalised_digest(tmp_path / "limited" / "model.engine") == normalised_digest(reference)


def test_the_normalised_digest_sees_everything_but_generated_numbers(tmp_path):
    def digest(data):
        (tmp_path / "engine").write_bytes(data)
        return normalised_digest(tmp_path / "engine")

    one = digest(b"a __mye12_x __mye7 __mye12 __myelin z")

    assert digest(b"a __mye3_x __mye12 __mye3 __myelin z") == one
    assert digest(b"a __mye12_x __mye7 __mye7 __myelin z") != one
    assert digest(b"b __mye12_x __mye7 __mye12 __myelin z") != one
    assert digest(b"a __mye12_x __mye7 __mye12 __myelin zz") != one
    assert digest(b"") != digest(b"__mye")
