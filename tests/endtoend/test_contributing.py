"""The parser of CONTRIBUTING.md, taken out of the page as it stands: it keeps the contract, and its model builds."""

from __future__ import annotations

import runpy
import shutil
import sys

import numpy as np
import onnxruntime
import pytest

from tests.endtoend.page_reader import PageReader
from tests.markdown_pages import ROOT, blocks_of
from trtpipe.canonical.writer import write_model
from trtpipe.weights.safetensors import SafetensorsFile

PAGE = ROOT / "CONTRIBUTING.md"
INSTALLED = """\
import sys
from pathlib import Path

import trtpipe.frontends

trtpipe.frontends.__path__.append(str(Path(__file__).parent / "frontends"))
sys.modules["matplotlib"] = None  # as in the base install
"""
"""A `sitecustomize.py`: every interpreter that has it finds the parser as if it lay among trtpipe's own."""


@pytest.fixture
def reader(tmp_path):
    """Somebody who put the page's parser in place, with the page's model and its weights in a project."""
    parser, _ = blocks_of(PAGE, "python")
    (model,) = blocks_of(PAGE, "text")
    (tmp_path / "site" / "frontends").mkdir(parents=True)
    (tmp_path / "site" / "sitecustomize.py").write_text(INSTALLED)
    (tmp_path / "site" / "frontends" / "stack.py").write_text(parser.text)
    made = PageReader(tmp_path / "project", tmp_path, [tmp_path / "site"])
    made.save("schema: 1\n", "trtpipe.yaml")
    made.save(model.text, "models/digits.stack")
    (made.project / "weights").mkdir()
    models = ROOT / "pipelines" / "models"
    shutil.copy(models / "digits.safetensors", made.project / "weights" / "trained.safetensors")
    return made


def outputs_of(model, images):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    (found,) = onnxruntime.InferenceSession(str(model), options).run(None, {"image": images})
    return found


def test_a_model_of_the_pages_parser_is_imported_checked_and_built(reader):
    for block in blocks_of(PAGE, "console"):
        reader.follow(block)
    images = np.load(ROOT / "calibration" / "digits" / "val.npz")["image"][:8].astype(np.float32)

    made = outputs_of(reader.project / "build" / "digits" / "fp32@sm89" / "model.onnx", images)

    expected = outputs_of(ROOT / "pipelines" / "models" / "digits_cnn.onnx", images)
    np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-4)


def test_weights_without_names_are_read_as_the_page_says(tmp_path):
    (model,) = blocks_of(PAGE, "text")
    code = tmp_path / "page.py"
    code.write_text("\n".join(block.text for block in blocks_of(PAGE, "python")))
    told = runpy.run_path(str(code))
    weights = SafetensorsFile(ROOT / "pipelines" / "models" / "digits.safetensors")
    flat = tmp_path / "digits.bin"
    flat.write_bytes(b"".join(weights.array(name).astype("<f4").tobytes() for name in weights.names))
    (tmp_path / "digits.stack").write_text(model.text)
    network = told["read_stack"](tmp_path / "digits.stack", "digits.stack").network()

    made = told["lower_with"](
        network, {name: weights.shape_of(name) for name in weights.names}, flat, tmp_path
    )

    write_model(made, tmp_path / "model.onnx")
    images = np.load(ROOT / "calibration" / "digits" / "val.npz")["image"][:8].astype(np.float32)
    expected = outputs_of(ROOT / "pipelines" / "models" / "digits_cnn.onnx", images)
    np.testing.assert_allclose(outputs_of(tmp_path / "model.onnx", images), expected, rtol=1e-4, atol=1e-4)


def test_every_wrong_line_is_told_in_one_pass(reader):
    text = (reader.project / "models" / "digits.stack").read_text()
    for old, new in (("relu relu3", "rleu relu3"), ("pool2 2", "pool2 0"), ("linear fc 10", "linear fc")):
        assert old in text
        text = text.replace(old, new)
    reader.save(text, "models/digits.stack")

    told = reader.type("trtpipe inspect models/digits.stack --with weights/trained.safetensors")

    assert reader.code == 2
    assert [line.partition(":1: ")[2] for line in told.splitlines() if line.startswith("digits.stack:")] == [
        "unknown layer 'rleu'",
        "stride.0: Input should be greater than or equal to 1",
        "cannot understand 'linear fc'",
    ]


def test_the_pages_parser_keeps_the_contract_of_all_parsers(reader):
    contract = ROOT / "tests" / "frontends" / "test_contract.py"

    told = reader.type(
        f'cd "{ROOT}" && "{sys.executable}" -m pytest -p no:cacheprovider -k stack "{contract}"'
    )

    assert reader.code == 0, told
    assert "stack" in reader.type(
        f'"{sys.executable}" -c "from trtpipe.frontends import *; print(frontend_names())"'
    )
