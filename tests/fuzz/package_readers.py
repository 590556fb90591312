"""Packages to damage: archives, and indexes whose checksum is set right again, so that what it says is looked at."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from tests.packages.small_packages import contents, engine, index, model

Files = Mapping[str, bytes]


def archives() -> list[Files]:
    """Archives with and without an extended header."""
    from trtpipe.packages.archive import write_archive

    home = f"models/{'n' * 120}"
    long = model("net", [engine(file=f"{home}/model.engine", bom="models/ü.json")])
    with tempfile.TemporaryDirectory() as folder:
        for number, made in enumerate((index(), index(long))):
            write_archive(contents(made), Path(folder) / f"{number}.tar")
        return [{"p.tar": (Path(folder) / f"{number}.tar").read_bytes()} for number in range(2)]


def read_archive(folder: Path) -> None:
    """Verified, unpacked, and verified again."""
    from trtpipe.packages.unpacking import unpack, verify_package

    verify_package(folder / "p.tar")
    unpack(folder / "p.tar", folder / "out")
    verify_package(folder / "out")


def indexes() -> list[Files]:
    """Indexes of a model and of a bundle."""
    from trtpipe.packages.index_file import index_bytes

    both = [
        model("a", [engine("a/fp16@ada")]),
        model("b", [engine("b/fp16@ada", gpu="NVIDIA L4", os="linux")]),
    ]
    return [{"index.json": index_bytes(one)} for one in (index(), index(*both, bundle="ab"))]


def read_index(folder: Path) -> None:
    """Read, and asked on behalf of a machine."""
    from trtpipe.packages.index_file import parse_index, sealed
    from trtpipe.selection.machine import described_machine
    from trtpipe.selection.verdict import choose

    text = (folder / "index.json").read_bytes()
    try:
        record = json.loads(text)
        text = sealed(record) if isinstance(record, dict) else text
    except (ValueError, RecursionError):
        pass
    found = parse_index(text, "p")
    choose(found, described_machine("NVIDIA L4", ["1.7.1", "10.13.3.9"], "580", "8GiB")).to_json()


LAYERS = ("top", "holder", "package")
"""The blobs of an image layout that lead to its package's index, outermost first."""


@cache
def layouts() -> list[Files]:
    """An OCI image layout: its index, and the documents that lead to the package's own."""
    from trtpipe.packages.oci.image import image_of
    from trtpipe.packages.oci.layout import write_layout

    made = contents(index())
    image = image_of(made.index, {})
    chain = {"top": image.top.content, "holder": image.manifests[-1].content, "package": image.package_index}
    with tempfile.TemporaryDirectory() as folder:
        write_layout(image, made.sources, "net", Path(folder) / "image")
        outer = (Path(folder) / "image/index.json").read_bytes()
    return [{"index.json": outer, **{f"{name}.json": content for name, content in chain.items()}}]


def read_layout(folder: Path) -> None:
    """Read with the digests set right, so that what the documents say is looked at, and asked for a machine."""
    from trtpipe.packages.oci.reader import index_of_layout
    from trtpipe.selection.machine import described_machine
    from trtpipe.selection.verdict import choose

    (whole,) = layouts()
    documents = {name: (folder / f"{name}.json").read_bytes() for name in ("index", *LAYERS)}
    blobs = folder / "image/blobs/sha256"
    blobs.mkdir(parents=True)
    for outer, inner in reversed([*zip(("index", *LAYERS), LAYERS, strict=False)]):
        was, now = (hashlib.sha256(one).hexdigest() for one in (whole[f"{inner}.json"], documents[inner]))
        documents[outer] = documents[outer].replace(was.encode(), now.encode())
        (blobs / now).write_bytes(documents[inner])
    (folder / "image/oci-layout").write_bytes(b"{}")
    (folder / "image/index.json").write_bytes(documents["index"])
    choose(index_of_layout(folder / "image"), described_machine("NVIDIA L4", ["1.7.1"], "580", "8GiB"))
