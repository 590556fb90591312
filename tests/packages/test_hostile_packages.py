"""What is refused of a package that somebody else made or changed: one sentence each, and nothing is written."""

from __future__ import annotations

import gzip
import io
import os
import random
import shutil
import socket
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.packages.small_packages import contents, index, sources_of
from trtpipe.errors import PackageError
from trtpipe.packages.archive import write_archive
from trtpipe.packages.archive_reader import archived_index
from trtpipe.packages.directory import write_directory
from trtpipe.packages.index_file import LARGEST_INDEX, index_bytes
from trtpipe.packages.unpacking import unpack, verify_package
from trtpipe.problem_codes import Code

FILE = "models/net/fp16@ada/model.engine"


def refused(package: Path) -> PackageError:
    """Why a package is refused, in one sentence; and an archive is not unpacked either."""
    with pytest.raises(PackageError) as caught:
        verify_package(package)
    (problem,) = caught.value.problems
    assert "\n" not in str(problem)
    if not package.is_dir():
        out = package.parent / "out"
        with pytest.raises(PackageError):
            unpack(package, out)
        assert [path.name for path in package.parent.iterdir()] == [package.name]
    return caught.value


# -- directories


def replaced_by_link(folder: Path) -> None:
    shutil.copy(folder / FILE, folder.parent / "elsewhere")
    (folder / FILE).unlink()
    (folder / FILE).symlink_to(folder.parent / "elsewhere")


def linked_folder(folder: Path) -> None:
    (folder / "models").rename(folder.parent / "moved")
    (folder / "models").symlink_to(folder.parent / "moved")


def linked_index(folder: Path) -> None:
    (folder / "index.json").rename(folder.parent / "index")
    (folder / "index.json").symlink_to(folder.parent / "index")


def changed_byte(folder: Path) -> None:
    data = bytearray((folder / FILE).read_bytes())
    data[3] ^= 1
    (folder / FILE).write_bytes(data)


def one_byte_more(folder: Path) -> None:
    (folder / FILE).write_bytes((folder / FILE).read_bytes() + b"x")


def a_socket(folder: Path) -> None:
    here = Path.cwd()
    os.chdir(folder)  # the path of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind("s")
    finally:
        os.chdir(here)


def deep(folder: Path) -> None:
    (folder / "/".join("abcdefghijklmnop")).mkdir(parents=True)


DAMAGES: dict[str, tuple[Callable[[Path], object], str, object]] = {
    "one byte changed": (changed_byte, f"{FILE} is not the file", Code.PACKAGE_DAMAGED),
    "one byte more": (one_byte_more, "is not the file", Code.PACKAGE_DAMAGED),
    "a file more": (lambda p: (p / "models/x").write_text(""), "models/x is not in", Code.PACKAGE_DAMAGED),
    "a file of git more": (
        lambda p: (p / ".gitignore").write_text(""),
        "not in its index",
        Code.PACKAGE_DAMAGED,
    ),
    "a file less": (lambda p: (p / FILE).unlink(), f"{FILE} is missing", Code.PACKAGE_DAMAGED),
    "a folder more": (lambda p: (p / "models/x").mkdir(), "models/x is not in", Code.PACKAGE_DAMAGED),
    "folders without end": (deep, "is not in its index", Code.PACKAGE_DAMAGED),
    "a link for a file": (replaced_by_link, "is a symbolic link", Code.PACKAGE_UNSAFE),
    "a link for a folder": (linked_folder, "models is a symbolic link", Code.PACKAGE_UNSAFE),
    "a link for the index": (linked_index, "index.json is a symbolic link", Code.PACKAGE_UNSAFE),
    "a hard link": (lambda p: (p.parent / "again").hardlink_to(p / FILE), "hard link", Code.PACKAGE_UNSAFE),
    "a pipe": (lambda p: os.mkfifo(p / "models/pipe"), "no regular file", Code.PACKAGE_UNSAFE),
    "a socket": (a_socket, "s is no regular file", Code.PACKAGE_UNSAFE),
    "no index": (lambda p: (p / "index.json").unlink(), "has no index.json", Code.PACKAGE_DAMAGED),
    "an index of others": (
        lambda p: (p / "index.json").write_text("{}"),
        "schema is missing",
        Code.PACKAGE_DAMAGED,
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_directory_that_is_not_what_its_index_says_is_refused(tmp_path, damage):
    change, says, code = DAMAGES[damage]
    write_directory(contents(), tmp_path / "p")
    change(tmp_path / "p")

    error = refused(tmp_path / "p")

    assert says in str(error) and error.problems[0].code == code


def test_a_directory_that_was_moved_is_as_good(tmp_path):
    write_directory(contents(), tmp_path / "p")
    (tmp_path / "p").rename(tmp_path / "q")

    assert verify_package(tmp_path / "q").index == index()


# -- archives


def member(name: str, data: bytes = b"", **about: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in about.items():
        setattr(info, key, value)
    return info, data


def regular() -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """The members of a good archive."""
    yield member("index.json", index_bytes(index()))
    for path, data in sorted(sources_of(index()).items()):
        yield member(path, data)


def archive(path: Path, members: list[tuple[tarfile.TarInfo, bytes]], **how: object) -> Path:
    with tarfile.open(path, "w", format=how.get("format", tarfile.PAX_FORMAT)) as file:  # type: ignore[call-overload]
        for info, data in members:
            file.addfile(info, io.BytesIO(data))
    return path


def test_an_archive_with_the_same_members_is_taken(tmp_path):
    """So that the cases below are refused for what is added to it."""
    assert verify_package(archive(tmp_path / "p.tar", list(regular()))).index == index()


LINK = {"linkname": "/etc/passwd"}
MEMBERS: dict[str, tuple[tuple[tarfile.TarInfo, bytes], str]] = {
    "a symbolic link": (member("models/x", type=tarfile.SYMTYPE, **LINK), "'models/x' is a symbolic link"),
    "a hard link": (member("models/x", type=tarfile.LNKTYPE, **LINK), "is a hard link"),
    "a character device": (member("models/x", type=tarfile.CHRTYPE), "is a device"),
    "a block device": (member("models/x", type=tarfile.BLKTYPE), "is a device"),
    "a pipe": (member("models/x", type=tarfile.FIFOTYPE), "is a pipe"),
    "a directory": (member("models/x", type=tarfile.DIRTYPE), "is a directory"),
    "a contiguous file": (member("models/x", type=tarfile.CONTTYPE), "of an odd kind"),
    "a kind of nobody": (member("models/x", type=b"Z"), "of an unknown kind"),
    "an absolute path": (member("/etc/cron.d/x", b"x"), "'/etc/cron.d/x' is no path inside"),
    "a path that leads up": (member("../x", b"x"), "'../x' is no path inside"),
    "a path that leads up later": (member("models/../../x", b"x"), "is no path inside"),
    "a path of Windows": (member("c:\\x", b"x"), "is no path inside"),
    "a file more": (member("models/x", b"x"), "models/x is not in its index"),
    "a file twice": (member(FILE, f"the bytes of {FILE}".encode()), f"it has {FILE} twice"),
    "the index twice": (member("index.json", b"{}"), "it has index.json twice"),
    "a path in an extension": (member("x" * 300 + "/../../y", b"x"), "is no path inside"),
}  # fmt: skip


@pytest.mark.parametrize("what", MEMBERS)
def test_a_member_that_no_package_has_is_refused(tmp_path, what):
    extra, says = MEMBERS[what]

    for place, members in (("last", [*regular(), extra]), ("second", _second(extra))):
        folder = tmp_path / place
        folder.mkdir()
        error = refused(archive(folder / "p.tar", members))
        assert says in str(error), place


def _second(extra: tuple[tarfile.TarInfo, bytes]) -> list[tuple[tarfile.TarInfo, bytes]]:
    first, *rest = regular()
    return [first, extra, *rest]


def test_a_file_less_is_refused(tmp_path):
    assert "is missing" in str(refused(archive(tmp_path / "p.tar", list(regular())[:-1])))


def test_other_bytes_and_another_size_are_refused(tmp_path):
    for number, data in enumerate((b"other", b"x" * len(f"the bytes of {FILE}"))):
        members = [member(FILE, data) if info.name == FILE else (info, old) for info, old in regular()]
        (tmp_path / str(number)).mkdir()
        error = refused(archive(tmp_path / str(number) / "p.tar", members))
        assert f"{FILE} is not the file that its index describes" in str(error)


def test_an_archive_that_does_not_begin_with_its_index_is_refused(tmp_path):
    assert "does not begin with index.json" in str(refused(archive(tmp_path / "p.tar", [*regular()][::-1])))
    (tmp_path / "p.tar").write_bytes(bytes(10240))
    assert "does not begin with index.json" in str(refused(tmp_path / "p.tar"))


@pytest.mark.parametrize("text", [b"", b"x", b"x" * 5000, gzip.compress(b"x" * 5000, mtime=0)], ids=range(4))
def test_what_is_no_archive_is_refused(tmp_path, text):
    (tmp_path / "p.tar").write_bytes(text)

    assert "refused" in str(refused(tmp_path / "p.tar"))


def test_extensions_that_we_do_not_write_are_refused(tmp_path):
    odd = archive(
        tmp_path / "p.tar", [member("index.json", index_bytes(index()), pax_headers={"comment": "x"})]
    )
    assert "an extended header that trtpipe does not write" in str(refused(odd))

    with tarfile.open(odd, "w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "x"}) as file:
        file.addfile(member("index.json")[0], io.BytesIO())
    assert "an extension of the whole archive" in str(refused(odd))

    archive(odd, [*regular(), member("n" * 200, b"x")], format=tarfile.GNU_FORMAT)
    assert "not a tar archive as trtpipe writes it" in str(refused(odd))


def test_an_extension_is_not_read_whatever_its_size(tmp_path):
    """A header of gigabytes would fill the memory of a reader that trusts its size."""
    write_archive(contents(), tmp_path / "p.tar")
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 1 << 32
    whole = info.tobuf(tarfile.USTAR_FORMAT) + (tmp_path / "p.tar").read_bytes()
    (tmp_path / "p.tar").write_bytes(whole)

    assert "an extended header that is too large" in str(refused(tmp_path / "p.tar"))


def test_a_size_that_the_archive_does_not_have_costs_nothing(tmp_path):
    """A bomb: sizes are compared with the index before anything is read, and the index has a largest size."""
    whole = index_bytes(index())
    for number, size in enumerate((LARGEST_INDEX + 1, 8 << 30, len(whole) + 512)):
        (tmp_path / str(number)).mkdir()
        info = tarfile.TarInfo("index.json")
        info.size = size
        path = tmp_path / str(number) / "p.tar"
        path.write_bytes(info.tobuf(tarfile.PAX_FORMAT) + whole)
        error = str(refused(path))
        assert "larger than 16 MiB" in error or "ends too early" in error


def test_every_archive_that_was_cut_is_refused(tmp_path):
    write_archive(contents(), tmp_path / "p.tar")
    whole = (tmp_path / "p.tar").read_bytes()

    for size in (*range(0, len(whole), 256), len(whole) - 1):
        (tmp_path / "p.tar").write_bytes(whole[:size])
        assert "early" in str(refused(tmp_path / "p.tar")) or size < 512, size


def test_one_changed_byte_anywhere_is_noticed(tmp_path):
    write_archive(contents(), tmp_path / "p.tar")
    whole = bytearray((tmp_path / "p.tar").read_bytes())
    chance = random.Random(1)

    for place in chance.sample(range(len(whole)), 600):
        flip = 1 << chance.randrange(8)
        whole[place] ^= flip
        (tmp_path / "p.tar").write_bytes(whole)
        with pytest.raises(PackageError):
            verify_package(tmp_path / "p.tar")
        whole[place] ^= flip


def test_what_is_behind_the_end_is_refused(tmp_path):
    write_archive(contents(), tmp_path / "p.tar")
    with (tmp_path / "p.tar").open("ab") as file:
        file.write(bytes(1 << 20) + b"x")

    assert "behind its end" in str(refused(tmp_path / "p.tar"))


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "p.tar")

    with pytest.raises(PackageError, match="it is not a regular file"):
        archived_index(tmp_path / "p.tar")


# -- unpacking


def test_an_archive_is_unpacked_to_the_same_directory(tmp_path):
    write_directory(contents(), tmp_path / "p")
    write_archive(contents(), tmp_path / "p.tar")

    found = unpack(tmp_path / "p.tar", tmp_path / "out")

    assert verify_package(tmp_path / "out").digest == found.digest == verify_package(tmp_path / "p").digest
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "out").rglob("*") if path.is_file()} == {
        0o644
    }


def test_nothing_is_unpacked_over_what_exists(tmp_path):
    write_archive(contents(), tmp_path / "p.tar")
    (tmp_path / "out").mkdir()

    with pytest.raises(PackageError, match="exists already"):
        unpack(tmp_path / "p.tar", tmp_path / "out")


def test_a_directory_has_nothing_to_unpack(tmp_path):
    write_directory(contents(), tmp_path / "p")

    with pytest.raises(PackageError, match="is a directory, so there is nothing to unpack"):
        unpack(tmp_path / "p", tmp_path / "out")
