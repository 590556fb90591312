"""What the readers of PyTorch archives and TensorFlow graphs owe a fuzzer: an answer or a ModelError, no more."""

from __future__ import annotations

import contextlib
import io
import tempfile
import zipfile
from pathlib import Path

from trtpipe.errors import ModelError
from trtpipe.frontends import ModelFiles
from trtpipe.frontends.pytorch import PytorchOptions
from trtpipe.frontends.pytorch import frontend as pytorch
from trtpipe.frontends.tensorflow import TensorflowOptions
from trtpipe.frontends.tensorflow import frontend as tensorflow
from trtpipe.frontends.torch_format.archive import read_pt2, write_bare


def fuzz_graphdef(data: bytes) -> None:
    """The bytes as a frozen graph, and as the graph of a SavedModel."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "saved_model.pb")
        path.write_bytes(data)
        for source in (path, path.parent):
            with contextlib.suppress(ModelError):
                proposal = tensorflow.propose(source)
                options = TensorflowOptions.model_validate(dict(proposal.options) if proposal else {})
                tensorflow.belonging(ModelFiles(source), options)


def fuzz_pt2(data: bytes) -> None:
    """The bytes as the archive of a program, copied where it is one."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "net.pt2")
        path.write_bytes(data)
        with contextlib.suppress(ModelError):
            pytorch.propose(path)
            pytorch.belonging(ModelFiles(path), PytorchOptions())
            write_bare(read_pt2(path), Path(folder, "bare.pt2"))


def fuzz_pt2_description(data: bytes) -> None:
    """The bytes as the description of a program in an archive that is sound otherwise, and as that of its weights."""
    for member in ("models/model.json", "data/weights/model_weights_config.json"):
        fuzz_pt2(_archive_with(member, data))


def _archive_with(name: str, data: bytes) -> bytes:
    inside = {
        "archive_format": b"pt2",
        "models/model.json": b"{}",
        "data/weights/model_weights_config.json": b'{"config": {}}',
        "data/constants/model_constants_config.json": b'{"config": {}}',
        name: data,
    }
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        for member, content in inside.items():
            archive.writestr(f"net/{member}", content)
    return whole.getvalue()
