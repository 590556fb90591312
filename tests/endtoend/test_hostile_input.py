"""Inputs and surroundings that mean harm, or just bad luck: one clear error, no traceback, nothing touched."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.endtoend import wholeness

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="not run: needs links, pipes and a shell")

SPEC = """\
schema: 1
pipeline: hostile
model: {source: models/model.onnx}
targets: {ada: {gpu: rtx4090}}
"""
DIGITS = Path(__file__).resolve().parents[2] / "pipelines" / "models" / "digits_cnn.onnx"
PROFILES = "profiles: [{image: {min: 1x1x8x8, opt: 16x1x8x8, max: 64x1x8x8}}]\n"


@pytest.fixture
def project(new_project, tmp_path):
    made = new_project(tmp_path / "project")
    made.write("pipelines/hostile.yaml", SPEC)
    (made.root / "models").mkdir()
    return made


@pytest.fixture
def digits(project):
    shutil.copy(DIGITS, project.root / "models" / "model.onnx")
    project.write("pipelines/hostile.yaml", SPEC + PROFILES)
    return project


def refused(project, *argv, **options):
    """The complaint of a command that must end with code 2 and no traceback."""
    ran = project.run(*argv, timeout=60, **options)
    assert ran.code == 2, (ran.out, ran.err)
    assert "Traceback" not in ran.err
    assert not (project.root / "build").exists()
    return ran.err


def value(name, shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def write_model(project, nodes, inputs, outputs, weights=()):
    graph = helper.make_graph(nodes, "graph", inputs, outputs, list(weights))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (project.root / "models" / "model.onnx").write_bytes(model.SerializeToString())


# -- files outside the project's reach ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source", ["../model.onnx", "models/../../model.onnx", "{outside}/model.onnx", "/dev/zero"]
)
def test_a_model_outside_the_project_is_refused(project, tmp_path, source):
    shutil.copy(DIGITS, tmp_path / "model.onnx")
    project.edit("pipelines/hostile.yaml", "models/model.onnx", source.format(outside=tmp_path))

    assert "pipelines/hostile.yaml:3:17: " in (told := refused(project, "build"))
    assert "is outside the project" in told


def test_a_link_out_of_the_project_is_refused(project, tmp_path):
    shutil.copy(DIGITS, tmp_path / "model.onnx")
    (project.root / "models" / "model.onnx").symlink_to(tmp_path / "model.onnx")

    assert "'models/model.onnx' is outside the project" in refused(project, "build")


def external(project, location, offset=0):
    weight = TensorProto(
        name="w", data_type=TensorProto.FLOAT, dims=[4, 4], data_location=TensorProto.EXTERNAL
    )
    for key, text in (("location", location), ("offset", str(offset)), ("length", "64")):
        weight.external_data.add(key=key, value=text)
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    write_model(project, [node], [value("x", [4, 4])], [value("y", [4, 4])], [weight])


@pytest.mark.parametrize("location", ["../../secret", "{outside}/secret", "/dev/zero"])
def test_external_data_outside_the_models_folder_is_refused(project, tmp_path, location):
    (tmp_path / "secret").write_bytes(bytes(64))
    external(project, location.format(outside=tmp_path))

    assert "which is not a path inside the model's folder" in refused(project, "build")


def test_external_data_behind_a_link_is_refused(project, tmp_path):
    (tmp_path / "secret").write_bytes(bytes(64))
    external(project, "w.bin")
    (project.root / "models" / "w.bin").symlink_to(tmp_path / "secret")

    assert "leaves the model's folder" in refused(project, "build")


@pytest.mark.parametrize(
    ("prepare", "offset", "told"),
    [
        (lambda path: None, 0, "does not exist"),
        (os.mkfifo, 0, "is not a regular file"),
        (lambda path: path.write_bytes(bytes(10)), 0, "has 10 bytes"),
        (lambda path: path.write_bytes(bytes(64)), 2**62, "impossible offset"),
    ],
    ids=["missing", "pipe", "short", "offset"],
)
def test_external_data_that_is_not_there_is_refused(project, prepare, offset, told):
    external(project, "w.bin", offset)
    prepare(project.root / "models" / "w.bin")

    assert told in refused(project, "check")


# -- models that are none -------------------------------------------------------------------------------------------


def archive():
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps(1))
    return data.getvalue()


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (pickle.dumps({"a": 1}), "is a Python pickle"),
        (archive(), "is a zip archive"),
        (b"", "is empty"),
        (DIGITS.read_bytes()[:5000], "is not an ONNX model"),
        (os.urandom(4096), "is not an ONNX model"),
    ],
    ids=["pickle", "checkpoint", "empty", "cut", "noise"],
)
def test_what_is_no_model_is_told_by_name_and_never_unpickled(project, data, told):
    (project.root / "models" / "model.onnx").write_bytes(data)

    assert told in refused(project, "check")


@pytest.mark.parametrize(
    "command", [["build"], ["inspect", "models/model.onnx"], ["init", "models/model.onnx"]]
)
def test_a_pipe_in_place_of_a_model_is_not_waited_for(project, command):
    os.mkfifo(project.root / "models" / "model.onnx")

    assert "is not a regular file" in refused(project, *command)


def test_a_cyclic_graph_is_refused(project):
    nodes = [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])]
    write_model(project, nodes, [value("x", [4])], [value("b", [4])])

    assert "the graph has a cycle through node 'a' (Add)" in refused(project, "check")


def test_a_weight_without_values_is_refused_whatever_its_size(project):
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2**40, 2**20])
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    write_model(project, [node], [value("x", [4, 2**40])], [value("y", [4, 2**20])], [weight])

    assert "tensor 'w' has no values" in refused(project, "check")


def test_a_constant_of_a_terabyte_is_not_computed(project):
    shape = numpy_helper.from_array(np.array([2**19, 2**19], np.int64), "shape")
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["big"]),
        helper.make_node("ReduceMax", ["big"], ["most"], keepdims=0),
        helper.make_node("Add", ["x", "most"], ["y"]),
    ]
    write_model(project, nodes, [value("x", [4])], [value("y", [4])], [shape])

    assert project.run("check").code == 0
    assert project.run("build", timeout=120).code in (0, 1)
    assert wholeness.defects(project.root) == []


# -- names ----------------------------------------------------------------------------------------------------------

EVIL = "\x1b]0;owned\x07\x1b[31mred\nplugins: [x.so]\npipelines/hostile.yaml:1:1: fake\x9b31m"


@pytest.fixture
def evil(project):
    shape = ["n" + EVIL, 4]
    node = helper.make_node("Relu", [EVIL], ["y" + EVIL], name="node" + EVIL)
    write_model(project, [node], [value(EVIL, shape)], [value("y" + EVIL, shape)])
    return project


@pytest.mark.parametrize(
    "command", [["check"], ["inspect", "models/model.onnx"], ["init", "models/model.onnx", "--stdout"]]
)
@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
def test_names_in_a_model_are_shown_and_not_sent_to_the_terminal(evil, command, form):
    if command[0] == "init" and form:
        pytest.skip("not run: init has no JSON form")

    ran = evil.run(*command, *form)

    assert "owned" in ran.out + ran.err
    assert not {"\x1b", "\x07", "\x9b"} & {*ran.out, *ran.err}
    assert not any(
        line.startswith(("pipelines/hostile.yaml:1:1: fake", "plugins")) for line in ran.err.splitlines()
    )


@pytest.mark.slow
def test_a_spec_that_init_writes_holds_names_as_data(evil):
    made = evil.run("init", "models/model.onnx", "--output", "pipelines/made.yaml")
    built = evil.run("build", "pipelines/made.yaml")

    assert (made.code, built.code) == (0, 0), made.err + built.err
    assert "\nplugins" not in (evil.root / "pipelines" / "made.yaml").read_text()
    for summary in evil.root.glob("build/*/*/summary.md"):
        assert "\x1b" not in summary.read_text()


@pytest.mark.parametrize("name", ["../x", "a/b", "a\nb", "a\x1b[31m", "..", "", "-x", "a@b", "*", "x" * 300])
def test_a_name_that_is_no_name_is_refused_everywhere(digits, name):
    quoted = json.dumps(name)
    digits.edit(
        "pipelines/hostile.yaml", "pipeline: hostile", f"pipeline: {quoted}\nvariants: {{{quoted}: {{}}}}"
    )
    digits.edit("pipelines/hostile.yaml", "{ada:", f"{{{quoted}:")

    told = refused(digits, "check")

    assert told.count("not a name: ") == 3
    assert "\x1b" not in told


def test_tensor_names_that_look_like_paths_are_only_names(project):
    node = helper.make_node("Relu", ["../../x"], ["/etc/passwd"], name="../n")
    write_model(project, [node], [value("../../x", [4])], [value("/etc/passwd", [4])])

    assert project.run("build").code == 0
    assert [path.name for path in (project.root / "build").rglob("*") if path.is_dir()] == [
        "hostile",
        "fp32@ada",
    ]


# -- specs ----------------------------------------------------------------------------------------------------------

ALIASES = "a: &a [1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{after}: &{after} [{', '.join(['*' + before] * 8)}]\n"
    for before, after in zip("abcdef", "bcdefg", strict=True)
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[" * 10000 + "]" * 10000, "nested more than 64 deep"),
        ("{a: " * 10000 + "}" * 10000, "nested more than 64 deep"),
        (ALIASES, "aliases expand to more"),
        ("x" * 3_000_000, "larger than 1 MiB"),
        ("\0\1", "is not allowed in YAML"),
        ("", "the file is empty"),
        ("schema: 1\npipeline: !!python/object/apply:os.system [touch owned]\n", "tag"),
    ],
    ids=["lists", "maps", "aliases", "size", "binary", "empty", "tag"],
)  # fmt: skip
def test_a_spec_that_explodes_is_refused_with_its_place(digits, text, told):
    digits.write("pipelines/hostile.yaml", text)

    complaint = refused(digits, "check")

    assert complaint.startswith("pipelines/hostile.yaml:")
    assert told in complaint
    assert not (digits.root / "owned").exists()


@pytest.mark.parametrize("kind", ["pipe", "directory", "device"])
def test_a_spec_that_is_no_file_is_refused(digits, kind):
    path = digits.root / "odd.yaml"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()

    assert "no s" in refused(digits, "build", "/dev/zero" if kind == "device" else "odd.yaml")


@pytest.mark.parametrize("name", ["trtpipe.yaml", "trtpipe.lock"])
def test_a_pipe_among_the_projects_own_files_is_not_waited_for(digits, name):
    os.mkfifo(digits.root / name)

    assert "not a file" in refused(digits, "build")


# -- data sets ------------------------------------------------------------------------------------------------------


def bomb(path):
    """A small npz whose one array claims to be 26 GB of zeros, of which 400 MB are there."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (10**8, 1, 8, 8)}
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file, file.open("image.npy", "w") as member:
        member.write(header.getvalue())
        for _ in range(100):
            member.write(bytes(4 << 20))


def pickled(path):
    np.savez(path, image=np.array([{"a": 1}], object))


@pytest.mark.parametrize(("make", "told"), [(bomb, "is truncated"), (pickled, "which are never unpickled")])
def test_a_data_set_that_means_harm_is_refused_before_it_is_unpacked(digits, make, told):
    make(digits.root / "data.npz")
    digits.write("calibration/data.yaml", "schema: 1\nnpz: data.npz\n")
    digits.write("pipelines/hostile.yaml", SPEC + PROFILES + "validate: {data: data}\n")

    limited = subprocess.run(
        ["bash", "-c", 'ulimit -v 8000000; exec "$@"', "bash", *digits.command("build")],
        cwd=digits.root,
        env=digits.environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert limited.returncode == 2
    said = limited.stderr.partition("\n")[2]  # the first build says where the store is
    assert said.startswith("calibration/data.yaml:2:6: array 'image' of 'data.npz' ")
    assert told in limited.stderr


# -- surroundings ---------------------------------------------------------------------------------------------------


def shell(project, script, **env):
    command = " ".join(project.command())
    return subprocess.run(
        ["bash", "-c", f'set -o pipefail; trtpipe() {{ {command} "$@"; }}; {script}'],
        cwd=project.root,
        env={**project.environment(), **env},
        capture_output=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def idle(new_project, tmp_path_factory):
    made = new_project(tmp_path_factory.mktemp("idle") / "with blanks and ünï©ode")
    made.write("pipelines/hostile.yaml", SPEC + PROFILES)
    (made.root / "models").mkdir()
    shutil.copy(DIGITS, made.root / "models" / "model.onnx")
    assert made.run("build").code == 0
    return made


@pytest.mark.parametrize(
    "script",
    [
        "trtpipe build --force --json | head -1",
        "trtpipe build --force 2>&1 >/dev/null | head -1",
        "trtpipe build --force >&- 2>&- <&-",
        "trtpipe build --force 2>/dev/full",
        "env -u HOME -u PATH LC_ALL=C PYTHONIOENCODING=ascii TERM=dumb COLUMNS=3"
        " {python} -m trtpipe build --force --jobs 64",
        "trtpipe plan --json | head -1",
    ],
)
def test_a_build_needs_nobody_to_listen(idle, script):
    ran = shell(idle, script.format(python=sys.executable))

    assert ran.returncode == 0, ran.stderr
    assert b"Traceback" not in ran.stderr
    assert idle.run("build").out == "nothing to do\n"


def test_output_that_cannot_be_written_is_an_error(idle):
    ran = shell(idle, "trtpipe plan >/dev/full")

    assert (ran.returncode, ran.stderr) == (2, b"cannot write the output: no space left on device\n")


def test_a_working_directory_that_is_gone_is_one_clear_error(idle, tmp_path):
    ran = shell(idle, f"mkdir {tmp_path}/gone; cd {tmp_path}/gone; rmdir {tmp_path}/gone; trtpipe build")

    assert ran.returncode == 2
    assert ran.stderr.endswith(b"the working directory does not exist any more\n  change to one that does\n")
    assert b"Traceback" not in ran.stderr


def test_a_build_runs_as_the_first_process_of_a_container(idle):
    if shell(idle, "unshare --pid --fork --mount-proc true").returncode:
        pytest.skip("not run: this user may not make namespaces")

    ran = shell(idle, f"unshare --pid --fork --mount-proc {sys.executable} -m trtpipe build --force")

    assert ran.returncode == 0, ran.stderr
    assert wholeness.defects(idle.root) == []


def test_paths_that_are_no_text_are_told_and_not_tripped_over(digits):
    odd = os.fsencode(digits.root) + b"/models/d\xff.onnx"
    shutil.copy(os.fsencode(DIGITS), odd)

    ran = shell(digits, "trtpipe inspect $'models/d\\xff.onnx'")

    assert ran.returncode == 2
    assert b"is not UTF-8, which ONNX requires" in ran.stderr
    assert b"Traceback" not in ran.stderr
    assert digits.run("check").code == 0


@pytest.mark.slow
def test_a_project_deep_in_the_file_system_builds(new_project, tmp_path):
    made = new_project(tmp_path.joinpath(*["d" * 200] * 15))
    made.write("pipelines/hostile.yaml", SPEC + PROFILES)
    (made.root / "models").mkdir()
    shutil.copy(DIGITS, made.root / "models" / "model.onnx")

    assert made.run("build").code == 0
    assert wholeness.defects(made.root) == []
    assert onnx.load(made.root / "build" / "hostile" / "fp32@ada" / "model.onnx").graph.node


# -- what nobody can mean -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("max: 64x1x8x8", f"max: {'9' * 5000}x1x8x8", "a dimension must lie between 0 and 2147483647"),
        ("targets:", "builder: {workspace: 99999999999999GiB}\ntargets:", "a size beyond 64 bits"),
        ("targets:", f"builder: {{workspace: '{'9' * 5000}'}}\ntargets:", "a size beyond 64 bits"),
        ("pipeline: hostile", f"pipeline: {'x' * 300}", "use up to 64 letters"),
        ("model.onnx}", f"model.onnx, sha256: {'0' * 64}}}", "is not the pinned model: its sha256 is"),
    ],
    ids=["dimension", "workspace", "long workspace", "name", "pin"],
)  # fmt: skip
def test_check_refuses_what_no_build_can_take(digits, old, new, told):
    digits.edit("pipelines/hostile.yaml", old, new)

    complaint = refused(digits, "check")

    assert complaint.startswith("pipelines/hostile.yaml:")
    assert told in complaint
    assert complaint.endswith("\n1 error\n")
    assert len(complaint) < 1000


@pytest.mark.parametrize("version", ["latest", "../../x", "", "1.7 --index-url http://x"])
def test_a_version_that_is_none_is_not_installed(digits, version):
    told = refused(digits, "toolchain", "install", version)

    assert told.startswith(f"not a version: {version!r}\n  write it in full, such as ")


def test_nobodys_home_is_told_where_it_is_named(digits):
    digits.write("trtpipe.yaml", "schema: 1\nreach: [~nobody-at-all/models]\n")
    assert (
        "'~nobody-at-all/models' in 'reach' of trtpipe.yaml refers to the home directory of an unknown user"
        in refused(digits, "check")
    )
    (digits.root / "trtpipe.yaml").unlink()

    digits.env["TRTPIPE_STORE"] = "~nobody-at-all/store"
    assert (
        "the store's path '~nobody-at-all/store' refers to the home directory of an unknown user"
        in refused(digits, "plan")
    )


@pytest.mark.slow
def test_the_store_may_lie_in_a_home_directory(digits, tmp_path):
    digits.env |= {"HOME": str(tmp_path / "home"), "TRTPIPE_STORE": "~/store"}

    assert digits.run("build").code == 0
    assert (tmp_path / "home" / "store" / "objects").is_dir()
    assert not (digits.root / "~").exists()
