"""A small project on disk, and errors as the text that people read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from trtpipe.errors import SpecError
from trtpipe.frontends.onnx import OnnxOptions
from trtpipe.loader.grammar import KnownNames, Parser
from trtpipe.loader.project import find_project
from trtpipe.loader.specs import LoadedPipeline, load_pipeline

KNOWN = KnownNames(("onnx",), ("fp32", "fp16", "bf16"), lambda _: Parser(OnnxOptions))


class Workspace:
    """A project directory with a model; tests write files into it and load them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("models/net.onnx", "")
        self.write("models/net_head.onnx", "")

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text), encoding="utf-8")
        return path

    def load(self, text: str, name: str = "pipelines/net.yaml") -> LoadedPipeline:
        path = self.write(name, text)
        return load_pipeline(path, find_project(path), KNOWN)

    def errors(self, text: str) -> str:
        return self.refusal(lambda: self.load(text))

    def refusal(self, act: Callable[[], object]) -> str:
        """The whole text of the error that an act raises, with the project's own path taken out."""
        with pytest.raises(SpecError) as caught:
            act()
        return str(caught.value).replace(str(self.root), "ROOT") + "\n"
