"""The comparisons that `python -m tests.bench` makes. A part prepares its sides in a folder, and says what it lacks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.bench.bench_calibrate import ONNXRUNTIME, PLAIN
from tests.bench.bench_calibrate import OURS as CALIBRATE
from tests.bench.bench_fp16 import _CLOCK, AUTOCAST
from tests.bench.bench_fp16 import OURS as FP16
from tests.bench.bench_noop import write_doit, write_dvc, write_project
from tests.bench.bench_startup import BARE
from tests.bench.harness import OURS, Part, Run, Sample, Side
from tests.bench.peers import environment_with, measured
from tests.bench.resnet50 import write_resnet50, write_samples

WEIGHTS, WEIGHT_SIDE = 5000, 122
LOAD_SAVE = (
    _CLOCK + "import onnx\nbegan = clock()\nonnx.save(onnx.load(source), out)\nMEASURED = since(began)\n"
)
CONVERTER = (
    _CLOCK
    + """
import onnx
from onnxconverter_common import float16
began = clock()
onnx.save(float16.convert_float_to_float16(onnx.load(source), keep_io_types=True), out)
MEASURED = since(began)
"""
)
IMPORT = (
    _CLOCK
    + """
from pathlib import Path
from trtpipe.frontends import ModelFiles, lower_model
from trtpipe.frontends.onnx import OnnxOptions, frontend
import onnx, onnx_ir
began = clock()
lower_model(frontend, ModelFiles(Path(source), root=Path(source).parent), OnnxOptions(), Path(out))
MEASURED = since(began)
"""
)
COPY = (
    _CLOCK
    + """
import os, shutil
from pathlib import Path
began = clock()
for one in Path(source).parent.iterdir():
    with shutil.copyfile(one, Path(out).parent / ("copy-" + one.name)).open("rb") as file:
        os.fsync(file.fileno())
MEASURED = since(began)
"""
)
IR_COPY = (
    _CLOCK
    + """
import onnx_ir
began = clock()
onnx_ir.save(onnx_ir.load(source), out, external_data="out.data")
MEASURED = since(began)
"""
)
RESTORE = """
import resource, sys, time
from pathlib import Path
from trtpipe.digests import Digest, digest_file
from trtpipe.stores.local import LocalStore
folder, out, link = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "link"
store = LocalStore(folder / "store")
try:
    from trtpipe.stores.verified_files import VerifiedFiles
    store.verified = VerifiedFiles(folder / "verified")
except ImportError:
    pass
path = next(one for one in (folder / "store/objects").rglob("*") if one.is_file())
digest = Digest(path.name, path.stat().st_size)
began = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
store.fetch(digest, out, link=link)
used = resource.getrusage(resource.RUSAGE_SELF)
processor = used.ru_utime + used.ru_stime - began[1].ru_utime - began[1].ru_stime
MEASURED = {"seconds": time.perf_counter() - began[0], "user": processor}
"""
NINJA = "rule echo\n  command = echo $out > $out\n"
SNAKEFILE = """
rule all:
    input: [f"out/{number}" for number in range(1000)]
rule one:
    input: "model.onnx"
    output: "out/{number}"
    shell: "echo {wildcards.number} > {output}"
"""


def _command(argv: list[str], cwd: Path, tree: Path | None = None, **variables: str) -> Run:
    environment = {**os.environ, **variables, **({"PYTHONPATH": str(tree)} if tree else {})}

    def run() -> None:
        subprocess.run(argv, cwd=cwd, check=True, capture_output=True, env=environment)

    return run


def _clocked(code: str, *arguments: object, python: str = sys.executable, tree: Path | None = None) -> Run:
    """A process that measures its own work: what it imports before does not count."""

    def run() -> Sample:
        told = measured(python, code, *arguments, tree=tree)
        return Sample(told.seconds, told.user)

    return run


def _peer(environment: str, packages: tuple[str, ...], code: str, *arguments: object) -> Side:
    """A peer that runs in an environment of its own, or why it cannot."""
    try:
        python = environment_with(environment, *packages)
    except RuntimeError as error:
        return str(error)
    return _clocked(code, *arguments, python=python)


def _prepared(write: Callable[[Path], list[str]], folder: Path) -> Side:
    """A peer's command after its first build, or why there is none."""
    try:
        run = _command(write(folder), folder)
        _once(run)
    except (RuntimeError, subprocess.CalledProcessError) as error:
        return str(error)
    return run


def noop(folder: Path, tree: Path) -> Mapping[str, Side]:
    """A build of 1,000 cells with nothing to do."""
    places = {name: folder / name for name in ("ours", "doit", "ninja", "snakemake", "dvc")}
    for place in places.values():
        place.mkdir()
    write_project(places["ours"])
    build = _command(
        [sys.executable, "-m", "trtpipe", "build"], places["ours"], tree, TRTPIPE_STORE=".trtpipe/store"
    )
    _once(build)
    return {
        OURS: build,
        "doit": _prepared(write_doit, places["doit"]),
        "ninja": _prepared(_write_ninja, places["ninja"]),
        "Snakemake": _prepared(_write_snakemake, places["snakemake"]),
        "DVC": _prepared(write_dvc, places["dvc"]),
    }


def _once(run: Run) -> None:
    """The first build, which is not measured. Raises RuntimeError."""
    try:
        run()
    except subprocess.CalledProcessError as error:
        last = (error.stderr or b"").decode(errors="replace").strip().splitlines()
        raise RuntimeError(last[-1] if last else str(error)) from error


def _write_ninja(folder: Path) -> list[str]:
    python = environment_with("ninja", "ninja")
    (folder / "model.onnx").write_bytes(b"x")
    (folder / "out").mkdir()
    lines = "".join(f"build out/{number}: echo model.onnx\n" for number in range(1000))
    (folder / "build.ninja").write_text(NINJA + lines)
    return [python, "-m", "ninja"]


def _write_snakemake(folder: Path) -> list[str]:
    python = environment_with("snakemake", "snakemake")
    (folder / "model.onnx").write_bytes(b"x")
    (folder / "Snakefile").write_text(SNAKEFILE)
    (folder / "out").mkdir()
    for number in range(1000):
        (folder / "out" / str(number)).write_text(f"{number}\n")
    return [python, "-m", "snakemake", "--cores", "1", "--quiet", "--rerun-triggers", "mtime"]


def startup(folder: Path, tree: Path) -> Mapping[str, Side]:
    """`trtpipe --help`."""
    (folder / "bare.py").write_text(BARE)
    return {
        OURS: _command([sys.executable, "-m", "trtpipe", "--help"], folder, tree),
        "a bare typer app": _command([sys.executable, str(folder / "bare.py"), "--help"], folder),
    }


def completion(folder: Path, tree: Path) -> Mapping[str, Side]:
    """What a shell is told of a project with ten specs."""
    (folder / "ours").mkdir()
    write_project(folder / "ours")
    asked = {"_TRTPIPE_COMPLETE": "complete_bash", "COMP_WORDS": "trtpipe build ", "COMP_CWORD": "2"}
    (folder / "bare.py").write_text(BARE)
    bare = {"_BARE.PY_COMPLETE": "complete_bash", "COMP_WORDS": "bare.py ", "COMP_CWORD": "1"}
    return {
        OURS: _command([sys.executable, "-m", "trtpipe"], folder / "ours", tree, **asked),
        "a bare typer app": _command([sys.executable, str(folder / "bare.py")], folder, **bare),
    }


def schema(folder: Path, tree: Path) -> Mapping[str, Side]:
    """`trtpipe schema`."""
    return {
        OURS: _command([sys.executable, "-m", "trtpipe", "schema"], folder, tree),
        "trtpipe --help": _command([sys.executable, "-m", "trtpipe", "--help"], folder, tree),
    }


def fp16(folder: Path, tree: Path) -> Mapping[str, Side]:
    """A ResNet-50 made fp16."""
    model, out = folder / "resnet50.onnx", folder / "fp16.onnx"
    write_resnet50(model)
    converter = "onnxconverter-common", "onnx<1.20", "numpy", "protobuf"
    return {
        OURS: _clocked(FP16, model, out, tree=tree),
        "onnx: load and save": _clocked(LOAD_SAVE, model, out),
        "onnxconverter-common": _peer("onnxconverter-common", converter, CONVERTER, model, out),
        "ModelOpt AutoCast": _peer("modelopt", ("nvidia-modelopt[onnx]",), AUTOCAST, model, out),
    }


def importing(folder: Path, tree: Path) -> Mapping[str, Side]:
    """A model of 5,000 weights in one data file, 300 MB."""
    model = folder / "source" / "model.onnx"
    model.parent.mkdir()
    write_many_weights(model, WEIGHTS, WEIGHT_SIDE)
    return {
        OURS: _clocked(IMPORT, model, folder / "out.onnx", tree=tree),
        "a flushed copy": _clocked(COPY, model, folder / "out.onnx"),
        "onnx-ir: load and save": _clocked(IR_COPY, model, folder / "ir.onnx"),
    }


def write_many_weights(path: Path, count: int, side: int) -> None:
    """Writes a chain of matrix products whose weights lie in one data file beside the model."""
    import numpy as np
    from onnx import TensorProto, helper, save

    rng = np.random.default_rng(0)
    nodes, weights, last = [], [], "x"
    with path.with_name("weights.bin").open("wb") as file:
        for number in range(count):
            weight = TensorProto(name=f"w{number}", data_type=1, dims=[side, side], data_location=1)
            entries = (
                ("location", "weights.bin"),
                ("offset", str(file.tell())),
                ("length", str(4 * side * side)),
            )
            for key, value in entries:
                weight.external_data.add(key=key, value=value)
            file.write(rng.standard_normal((side, side), dtype=np.float32).tobytes())
            nodes.append(helper.make_node("MatMul", [last, weight.name], [f"y{number}"], f"n{number}"))
            weights.append(weight)
            last = f"y{number}"
    ends = [helper.make_tensor_value_info(name, 1, [side, side]) for name in ("x", last)]
    graph = helper.make_graph(nodes, "weights", ends[:1], ends[1:], weights)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def _restoring(folder: Path, tree: Path, link: str) -> Mapping[str, Side]:
    from trtpipe.stores.local import LocalStore

    store = LocalStore(folder / "store")
    with store.scratch() as scratch:
        with (scratch / "x").open("wb") as file:
            for _ in range(256):
                file.write(os.urandom(1 << 20))
        digest = store.put(scratch / "x")
    path, numbers = store.object_path(digest), iter(range(1 << 30))

    def restore() -> Sample:
        # Links stay: removing one changes the file's change time, as writing to it would.
        out = folder / (f"linked{next(numbers)}" if link else "copied")
        told = measured(sys.executable, RESTORE, folder, out, link or "copy", tree=tree)
        return Sample(told.seconds, told.user)

    def copy() -> None:
        shutil.copyfile(path, folder / "peer")
        with (folder / "peer").open("rb") as file:
            os.fsync(file.fileno())

    def digested() -> None:
        from trtpipe.digests import digest_file

        digest_file(path)

    return {OURS: restore, "a flushed copy": copy, "its BLAKE3": digested}


def restore_link(folder: Path, tree: Path) -> Mapping[str, Side]:
    """256 MiB of the user's own store, linked."""
    return _restoring(folder, tree, "link")


def restore_copy(folder: Path, tree: Path) -> Mapping[str, Side]:
    """The same, copied."""
    return _restoring(folder, tree, "")


def _calibrating(folder: Path, tree: Path, method: str) -> Mapping[str, Side]:
    model, data, images = folder / "resnet50.onnx", folder / "images.npy", 128
    write_resnet50(model)
    write_samples(data, images)
    return {
        OURS: _clocked(CALIBRATE, model, data, images, method, tree=tree),
        "the same pass in fp32": _clocked(PLAIN, model, data, images),
        "ONNX Runtime's quantizer": _clocked(ONNXRUNTIME, model, data, images, method),
    }


def calibrate_max(folder: Path, tree: Path) -> Mapping[str, Side]:
    """Scales by max over 128 images."""
    return _calibrating(folder, tree, "max")


def calibrate_entropy(folder: Path, tree: Path) -> Mapping[str, Side]:
    """Scales by entropy over 128 images."""
    return _calibrating(folder, tree, "entropy")


def inspecting(folder: Path, tree: Path) -> Mapping[str, Side]:
    """What is in a ResNet-50's file."""
    model = folder / "resnet50.onnx"
    write_resnet50(model)
    ours = _command([sys.executable, "-m", "trtpipe", "inspect", str(model)], folder, tree)
    try:
        python = environment_with("polygraphy", "polygraphy", "onnx", "onnxruntime", "onnx-graphsurgeon")
    except RuntimeError as error:
        return {OURS: ours, "Polygraphy": str(error)}
    command = Path(python).with_name("polygraphy")
    return {OURS: ours, "Polygraphy": _command([str(command), "inspect", "model", str(model)], folder)}


def engine(folder: Path, tree: Path) -> Mapping[str, Side]:
    """One small engine through the worker, and by a bare script."""
    try:
        from tests.bench.bench_worker import MODELS, await_children, build_raw, build_through_worker
    except ImportError as error:
        raise RuntimeError(f"TensorRT is not installed: {error}") from error
    generate, shape = MODELS["small"]
    generate(folder / "model.onnx")

    def ours() -> None:
        build_through_worker(folder, shape)
        await_children()

    return {
        OURS: ours,
        "the raw script": lambda: build_raw(folder, shape),
    }


PARTS = (
    Part("no-op, 1,000 cells", 0.5, ("doit", "ninja", "Snakemake", "DVC"), noop, quick=False),
    Part("--help", None, ("a bare typer app",), startup),
    Part("completion with values", None, ("a bare typer app",), completion),
    Part("schema", None, ("trtpipe --help",), schema),
    Part(
        "import of 5,000 weights, 300 MB",
        1.3,
        ("a flushed copy", "onnx-ir: load and save"),
        importing,
        quick=False,
    ),
    Part(
        "fp16 of a ResNet-50", 1.3, ("onnx: load and save", "onnxconverter-common", "ModelOpt AutoCast"), fp16
    ),
    Part("restore of 256 MiB, linked", 0.2, ("its BLAKE3",), restore_link),
    Part("restore of 256 MiB, copied", 1.1, ("a flushed copy",), restore_copy),
    Part("inspect a ResNet-50", None, ("Polygraphy",), inspecting),
    Part("one small engine", 1.15, ("the raw script",), engine, quick=False),
    Part(
        "int8 scales by max, 128 images",
        1.15,
        ("the same pass in fp32", "ONNX Runtime's quantizer"),
        calibrate_max,
        quick=False,
        rounds=5,
    ),
    Part(
        "int8 scales by entropy, 128 images",
        1.5,
        ("the same pass in fp32",),
        calibrate_entropy,
        quick=False,
        rounds=5,
    ),
)
ALONE = (
    "bench_check",
    "bench_growth",
    "bench_parallel",
    "bench_readback",
    "bench_report",
    "bench_select",
    "bench_touch",
    "build_phases",
    "fleet_overhead",
    "fleet_scaling",
)
"""Scripts with tables of their own: no single ratio says what they measure."""
