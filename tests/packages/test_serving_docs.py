"""docs/triton.md and docs/oci.md: what they show is what there is."""

from __future__ import annotations

import re

import yaml

from tests.markdown_pages import ROOT, blocks_of
from tests.packages.made_packages import contents, engine, model
from trtpipe.packages.oci.image import PREFIX, annotations_of
from trtpipe.packages.triton.server import Needs, start_lines
from trtpipe.packages.triton.tensors import TYPES
from trtpipe.spec.packaging import PackageSpec, TritonSpec

TRITON, OCI = ROOT / "docs/triton.md", ROOT / "docs/oci.md"


def test_the_spec_that_it_shows_has_every_key():
    (block,) = blocks_of(TRITON, "yml")
    shown = yaml.safe_load(block.text)["package"]

    PackageSpec.model_validate(shown)

    assert set(shown["triton"]) == set(TritonSpec.model_fields)


def test_the_types_that_it_names_are_those_of_each_backend():
    text = TRITON.read_text()
    short = {"float16": "fp16", "float32": "fp32", "bfloat16": "bf16"}

    (named,) = re.findall(r"\*\*Types\.\*\* (.*?) with `tensorrt`", text)

    assert set(re.split(r", | and ", named)) == {short.get(one, one) for one in TYPES["tensorrt"]}


def test_every_argument_of_the_server_is_explained():
    needs = Needs(("a.so",), version_compatible=True, load=("a",))
    text = TRITON.read_text()

    for argument in start_lines(needs)[1:]:
        flag = argument.strip("'").split("=/")[0].split("=a")[0]
        assert flag in text, flag


def test_every_annotation_is_in_the_table():
    one = engine("net/fp16@ada", plugins=("libmyops.so",))
    package = contents(model("net", one))
    made = annotations_of(package.index, package.index.models[0], one)
    cells = [line.split("|")[1] for line in OCI.read_text().splitlines() if line.startswith("| `trtpipe.")]
    named = set()
    for cell in cells:
        for name in re.findall(r"`(.*?)`", cell):
            named.add(name.removeprefix(PREFIX).removeprefix("."))

    assert named == {name.removeprefix(PREFIX) for name in made if name.startswith(PREFIX)}
