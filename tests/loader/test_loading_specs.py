"""Wrong specs give every error at once, word for word; right ones come back merged with their project."""

from pathlib import Path
from textwrap import dedent

import pytest

from tests.loader.spec_corpus import HEAD, REFUSED, TARGETS
from tests.loader.spec_workspace import KNOWN, Workspace
from trtpipe.errors import Problem, SpecError
from trtpipe.loader.all_specs import load_all
from trtpipe.loader.project import find_project
from trtpipe.loader.refusals import MAX_PROBLEMS
from trtpipe.loader.specs import load_dataset
from trtpipe.problem_codes import Code


@pytest.mark.parametrize(("lines", "said"), REFUSED.values(), ids=REFUSED)
def test_refused_with_place_and_remedy(workspace: Workspace, lines: str, said: str) -> None:
    assert workspace.errors(HEAD + TARGETS + lines) == dedent(said).replace("@", "pipelines/net.yaml")


CONTRADICTIONS = {
    "budget that nothing keeps": (
        "validate: {random: {}}\nvariants: {a: {precision: auto, budget: {metric: snr, min: 9, max: 8}}}\n",
        """\
        @:6:41: nothing is at least 9 and at most 8
            variants: {a: {precision: auto, budget: {metric: snr, min: 9, max: 8}}}
                                                    ^
          leave out min or max
        """,
    ),
    "budget of a search without candidates": (
        "validate: {random: {}}\nvariants: {a: {precision: auto, try: [], budget: {accuracy_drop: 0.1}}}\n",
        """\
        @:6:38: 'try' names no precision
            variants: {a: {precision: auto, try: [], budget: {accuracy_drop: 0.1}}}
                                                 ^
          for example try: [int8, fp16]
        """,
    ),
    "scales of a variant that takes none": (
        "variants: {a: {precision: fp16, method: max, percentile: 99}}\n",
        """\
        @:5:41: method has no effect: precision 'fp16' uses no scales of activations
            variants: {a: {precision: fp16, method: max, percentile: 99}}
                                                    ^
          leave it out
        @:5:58: percentile has no effect: precision 'fp16' uses no scales of activations
            variants: {a: {precision: fp16, method: max, percentile: 99}}
                                                                     ^
          leave it out
        """,
    ),
}


@pytest.mark.parametrize(("lines", "said"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_fields_that_do_not_go_together_are_told(workspace: Workspace, lines: str, said: str) -> None:
    """What no JSON Schema says, for it is about the values of several fields."""
    assert workspace.errors(HEAD + TARGETS + lines) == dedent(said).replace("@", "pipelines/net.yaml")


def test_an_almost_empty_spec_is_told_everything_it_needs(workspace: Workspace) -> None:
    assert workspace.errors("schema: 1\n") == dedent("""\
        pipelines/net.yaml:1:1: missing key 'pipeline' or 'bundle'
            schema: 1
            ^
          for example pipeline: ocr-det; or, for several pipelines as one product, bundle: ocr
        pipelines/net.yaml:1:1: missing key 'model'
            schema: 1
            ^
          for example model: {source: models/ocr_det.onnx}
        pipelines/net.yaml:1:1: missing key 'targets'
            schema: 1
            ^
          for example targets: {ada: {gpu: rtx4090}}
        """)


def test_another_schema_version_is_named(workspace: Workspace) -> None:
    said = workspace.errors((HEAD + TARGETS).replace("schema: 1", "schema: 2"))

    assert said == (
        "pipelines/net.yaml:1:9: schema must be 1\n    schema: 2\n            ^\n  write schema: 1\n"
    )


def test_an_unknown_parser_is_named(workspace: Workspace) -> None:
    said = workspace.errors(HEAD.replace("net.onnx}", "net.onnx, parser: onxx}") + TARGETS)

    assert "net.yaml:3:42: unknown parser 'onxx'" in said
    assert said.endswith("  did you mean 'onnx'? valid parsers: onnx\n")


def test_a_pin_must_be_a_digest(workspace: Workspace) -> None:
    said = workspace.errors(HEAD.replace("net.onnx}", "net.onnx, sha256: abc123}") + TARGETS)

    assert "net.yaml:3:42: not a SHA-256: 'abc123'" in said


def test_a_gpu_may_be_a_number_but_not_a_truth_value(workspace: Workspace) -> None:
    loaded = workspace.load(HEAD + "targets: {a: {gpu: 8.9}, b: {gpu: [sm86, 12.0]}, c: {gpu: 89}}\n")
    said = workspace.errors(HEAD + "targets: {a: {gpu: [sm89, true]}}\n")

    assert [target.gpu for target in loaded.spec.targets.values()] == [("8.9",), ("sm86", "12.0"), ("89",)]
    assert "'gpu[1]' must be text, not true" in said


def test_an_unknown_toolchain_is_named_with_those_there_are(workspace: Workspace) -> None:
    said = workspace.errors(
        HEAD + "targets: {ada: {gpu: sm89, toolchain: trx-1}}\ntoolchains: {rtx-1: {flavour: tensorrt_rtx}}\n"
    )

    assert said == (
        "pipelines/net.yaml:4:39: unknown toolchain 'trx-1'\n"
        "    targets: {ada: {gpu: sm89, toolchain: trx-1}}\n"
        "                                          ^\n"
        "  did you mean 'rtx-1'? valid toolchains: rtx-1\n"
    )


def test_an_unknown_data_set_is_named_with_those_there_are(workspace: Workspace) -> None:
    workspace.write("calibration/digits.yaml", "schema: 1\n")

    said = workspace.errors(HEAD + TARGETS + "validate: {data: digit}\n")

    assert "net.yaml:5:18: no data set 'digit': there is no calibration/digit.yaml\n" in said
    assert said.endswith("  did you mean 'digits'? valid data sets: digits\n")


def test_data_set_names_cannot_climb_out_of_their_directory(workspace: Workspace) -> None:
    workspace.write("calibration/digits.yaml", "schema: 1\n")

    assert "no data set '../calibration/digits'" in workspace.errors(
        HEAD + TARGETS + "validate: {data: ../calibration/digits}\n"
    )


def test_all_problems_come_in_the_order_of_the_file(workspace: Workspace) -> None:
    said = workspace.errors("""\
        schema: 1
        pipeline: net
        model: {source: models/nte.onnx, parser: tf}
        variants: {a: {precision: fp61}, a: {}}
        profiles: [{x: {min: 1}}]
        targets: {ada: {gpu: []}, l4: }
        bulider: {}
        validate: {data: none, thresholds: [{metric: cosine}]}
        plugins: [{library: ../plugin.so}]
        9: x
        """)

    places = [line.split(": ")[0] for line in said.splitlines() if line.startswith("pipelines/")]
    assert places == [
        f"pipelines/net.yaml:{line}:{column}"
        for line, column in [
            (3, 17), (3, 42), (4, 27), (4, 34), (5, 16), (6, 22), (6, 27), (7, 1), (8, 18), (8, 37), (9, 21),
            (10, 1), (10, 1),
        ]
    ]  # fmt: skip


def test_a_flood_of_problems_is_cut(workspace: Workspace) -> None:
    keys = "".join(f"key{number}: 1\n" for number in range(MAX_PROBLEMS + 7))

    lines = workspace.errors(HEAD + TARGETS + keys).splitlines()

    assert sum("unknown key" in line for line in lines) == MAX_PROBLEMS
    assert lines[-1] == "note: and 7 more"


def test_ten_wrong_specs_are_told_in_one_pass(workspace: Workspace) -> None:
    wrong = [
        workspace.write(f"pipelines/p{number}.yaml", HEAD + TARGETS + f"wrong{number}: 1\n")
        for number in range(10)
    ]
    right = workspace.write("pipelines/right.yaml", HEAD + TARGETS)

    found = load_all([*wrong, right], KNOWN)
    loaded, problems = found.pipelines, found.problems

    assert [one.spec.pipeline for one in loaded] == ["net"]
    assert [(str(problem.where), problem.fact) for problem in problems] == [
        (f"{Path('pipelines')}/p{number}.yaml:5:1", f"unknown key 'wrong{number}'") for number in range(10)
    ]


def test_two_pipelines_of_one_name_are_told_apart(workspace: Workspace) -> None:
    paths = [workspace.write(f"pipelines/{name}.yaml", HEAD + TARGETS) for name in ("one", "two")]

    found = load_all(paths, KNOWN)
    loaded, problems = found.pipelines, found.problems

    assert len(loaded) == 2
    assert [str(problem) for problem in problems] == [
        "pipelines/two.yaml:2:11: pipeline 'net' is also in pipelines/one.yaml\n"
        "    pipeline: net\n              ^\n  give each pipeline a name of its own"
    ]


def test_a_broken_project_file_is_told_once(workspace: Workspace) -> None:
    workspace.write("trtpipe.yaml", "schema: 1\nstores: {}\n")
    paths = [workspace.write(f"pipelines/{name}.yaml", HEAD + TARGETS) for name in ("one", "two")]

    found = load_all(paths, KNOWN)
    loaded, problems = found.pipelines, found.problems

    assert loaded == []
    assert [problem.fact for problem in problems] == ["unknown key 'stores'"]


PROJECT = """\
schema: 1
targets:
  ada: {gpu: rtx4090, toolchain: rtx}
  l4:
    gpu: NVIDIA L4
toolchains: {rtx: {flavour: tensorrt_rtx, version: "1.7.*"}, old: {flavour: tensorrt}}
builder: {workspace: 1GiB}
"""


def test_targets_left_out_are_all_of_the_projects(workspace: Workspace) -> None:
    workspace.write("trtpipe.yaml", PROJECT)

    spec = workspace.load(HEAD).spec

    assert {name: target.gpu for name, target in spec.targets.items()} == {
        "ada": ("rtx4090",),
        "l4": ("NVIDIA L4",),
    }
    assert spec.builder.workspace == 1 << 30


def test_a_bare_target_takes_the_projects_and_a_described_one_its_own(workspace: Workspace) -> None:
    workspace.write("trtpipe.yaml", PROJECT)

    spec = workspace.load(HEAD + "targets:\n  ada:\n  l4: {gpu: sm89}\n  mine: {gpu: sm120}\n").spec

    assert [(name, target.gpu) for name, target in spec.targets.items()] == [
        ("ada", ("rtx4090",)),
        ("l4", ("sm89",)),
        ("mine", ("sm120",)),
    ]


def test_a_pipelines_toolchains_and_builder_go_before_the_projects(workspace: Workspace) -> None:
    workspace.write("trtpipe.yaml", PROJECT)

    spec = workspace.load(
        HEAD + "toolchains: {rtx: {flavour: tensorrt_rtx, version: '1.6.*'}}\nbuilder: {tf32: true}\n"
    ).spec

    assert {name: one.version for name, one in spec.toolchains.items()} == {"rtx": "1.6.*", "old": None}
    assert (spec.builder.tf32, spec.builder.workspace) == (True, 2 << 30)


def test_a_bare_target_that_nobody_describes_is_refused(workspace: Workspace) -> None:
    workspace.write("trtpipe.yaml", PROJECT)

    assert workspace.errors(HEAD + "targets:\n  adda:\n") == dedent("""\
        pipelines/net.yaml:5:3: target 'adda' is defined neither here nor in trtpipe.yaml
              adda:
              ^
          did you mean 'ada'? valid shared targets: ada, l4
          or define it: adda: {gpu: rtx4090}
        """)


def test_problems_of_shared_parts_are_shown_where_they_were_written(workspace: Workspace) -> None:
    workspace.write("trtpipe.yaml", PROJECT)
    loaded = workspace.load(HEAD + "targets:\n  ada:\n  mine: {gpu: sm75}\n")

    def place(*path: str | int) -> str:
        return str(loaded.locate(Problem(Code.INVALID_VALUE, "something is wrong", path=path)).where)

    assert place("targets", "ada", "gpu") == "trtpipe.yaml:3:14"
    assert place("targets", "ada") == "trtpipe.yaml:3:8"
    assert place("targets", "mine", "gpu") == "pipelines/net.yaml:6:15"
    assert place("targets", "mine", "toolchain") == "pipelines/net.yaml:6:3"
    assert place("builder", "workspace") == "trtpipe.yaml:7:22"
    assert place("profiles", 0, "x") == "pipelines/net.yaml:1:1"


def test_a_located_problem_stays_where_it_is(workspace: Workspace) -> None:
    loaded = workspace.load(HEAD + TARGETS)
    problem = loaded.locate(Problem(Code.INVALID_VALUE, "wrong", path=("model",)))

    assert loaded.locate(problem) is problem


def test_an_unknown_toolchain_of_a_shared_target_is_shown_in_the_project_file(workspace: Workspace) -> None:
    workspace.write("trtpipe.yaml", PROJECT.replace("toolchain: rtx}", "toolchain: rxt}"))

    assert workspace.errors(HEAD).startswith("trtpipe.yaml:3:34: unknown toolchain 'rxt'\n")


def test_the_files_that_a_spec_names_are_found(workspace: Workspace) -> None:
    workspace.write("plugins/libop.so", "")
    workspace.write("golden.npz", "")

    loaded = workspace.load(
        HEAD
        + TARGETS
        + "plugins: [{library: plugins/libop.so}]\nvalidate: {reference: {golden: golden.npz}}\n"
    )

    assert loaded.model_file == workspace.root.resolve() / "models/net.onnx"
    assert {path: file.name for path, file in loaded.files.items()} == {
        ("model", "source"): "net.onnx",
        ("plugins", 0, "library"): "libop.so",
        ("validate", "reference", "golden"): "golden.npz",
    }


def test_only_the_model_and_one_target_are_needed(workspace: Workspace) -> None:
    spec = workspace.load(HEAD + TARGETS).spec

    assert {name: variant.precision for name, variant in spec.variants.items()} == {"fp32": "fp32"}
    assert spec.validate_ is None
    assert spec.profiles == ()


def test_a_data_set_is_read_with_its_files(workspace: Workspace) -> None:
    workspace.write("data/images.npy", "")
    path = workspace.write(
        "calibration/digits.yaml",
        "schema: 1\nnpy: {images: data/images.npy}\ninputs: {x: {mean: 0.5, std: [1, 2]}}\n",
    )

    loaded = load_dataset(path, find_project(path))

    assert loaded.name == "digits"
    assert loaded.files["npy", "images"].name == "images.npy"
    assert (loaded.spec.inputs["x"].mean, loaded.spec.inputs["x"].std) == ((0.5,), (1.0, 2.0))
    assert str(loaded.locate(Problem(Code.INVALID_VALUE, "wrong", path=("inputs", "x", "std", 1))).where) == (
        "calibration/digits.yaml:3:34"
    )


def test_a_wrong_data_set_is_told_everything(workspace: Workspace) -> None:
    path = workspace.write(
        "calibration/digits.yaml",
        "schema: 1\nnpz: data/digits.npz\nrandom: {shapes: {x: [1, 3.5]}}\nbatch: 0\n",
    )

    with pytest.raises(SpecError) as caught:
        load_dataset(path, find_project(path))

    assert [f"{problem.where}: {problem.fact}" for problem in caught.value.problems] == [
        "calibration/digits.yaml:2:6: no such file: 'data/digits.npz'",
        "calibration/digits.yaml:3:22: not a shape: [1, 3.5]",
        "calibration/digits.yaml:4:8: 'batch' must be at least 1, not 0",
    ]


def test_a_data_set_has_a_source(workspace: Workspace) -> None:
    path = workspace.write("calibration/digits.yaml", "schema: 1\n")

    assert (
        "no samples: give one of images, npy, npz, parquet, python, random and safetensors"
        in workspace.refusal(lambda: load_dataset(path, find_project(path)))
    )


def test_a_reference_names_a_variant(workspace: Workspace) -> None:
    lines = (
        "variants: {wide: {}, half: {precision: fp16}}\nvalidate: {reference: {variant: whide}, random: {}}\n"
    )

    said = workspace.errors(HEAD + TARGETS + lines)

    assert said.startswith("pipelines/net.yaml:6:33: unknown variant 'whide'\n")
    assert said.endswith("did you mean 'wide'? valid variants: wide, half\n")
