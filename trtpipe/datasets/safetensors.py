"""safetensors: one .safetensors file whose tensors have the samples along their first axis; memory-mapped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from trtpipe.datasets import Reader, Source
from trtpipe.datasets.locations import Files
from trtpipe.datasets.samples.mapped import MappedArray, told_at
from trtpipe.spec.dataset import DatasetSpec
from trtpipe.weights.safetensors import SafetensorsFile

_WHERE = ("safetensors",)


def _files(spec: DatasetSpec, files: Files) -> Mapping[str, Path]:
    return {spec.safetensors: files(spec.safetensors)} if spec.safetensors else {}


def _open(spec: DatasetSpec, files: Files, stack: ExitStack) -> Mapping[str, Source]:
    with told_at(_WHERE):
        return _Tensors(SafetensorsFile(files(spec.safetensors or "")))


class _Tensors(Mapping[str, Source]):
    """Arrays by name; each is mapped on first access."""

    def __init__(self, file: SafetensorsFile) -> None:
        self.file = file

    def __getitem__(self, name: str) -> Source:
        if name not in self.file.names:
            raise KeyError(name)
        with told_at(_WHERE):
            return MappedArray(self.file.array(name))

    def __iter__(self) -> Iterator[str]:
        return iter(self.file.names)

    def __len__(self) -> int:
        return len(self.file.names)


reader = Reader(version=1, files=_files, open=_open)
