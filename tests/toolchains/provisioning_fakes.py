"""Fakes for what the toolchains tests must not touch: pip, the package index, the user's cache."""

import json
import sys
from pathlib import Path

import pytest

from trtpipe.toolchains import pip

FAKE_PIP = """
import base64, hashlib, json, os, pathlib, re, sys, time
arguments = sys.argv[1:]
target = pathlib.Path(arguments[arguments.index("--target") + 1])
listed = arguments[arguments.index("--requirement") + 1] if "--requirement" in arguments else None
lines = pathlib.Path(listed).read_text().splitlines() if listed else [one for one in arguments if "==" in one]
wanted = [line.split()[0].split("==") for line in lines]
hashes = {line.split("==")[0]: re.findall("sha256:([0-9a-f]+)", line) for line in lines}
with open(os.environ["FAKE_PIP_LOG"], "a") as log:
    log.write(json.dumps([name for name, _ in wanted]) + "\\n")
mode = os.environ.get("FAKE_PIP_MODE", "ok")
refusals = {
    "missing": "ERROR: Could not find a version that satisfies the requirement x (from versions: 1.4.0.76, 1.7.1.116)",
    "full": "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
    "unreachable": "Retrying after NewConnectionError: Temporary failure in name resolution\\n"
    "ERROR: No matching distribution found for x (from versions: none)",
    "broken": "one\\nERROR: the wheel is cursed",
    "cuda13 missing": "ERROR: No matching distribution found for x",
}
time.sleep(float(os.environ.get("FAKE_PIP_SECONDS", "0")))
if mode in refusals and not (mode == "cuda13 missing" and "cu12" in wanted[0][0]):
    (target / "half").write_text("half an installation")
    sys.exit(refusals[mode])
report = {"install": []}
for name, _ in wanted if "--require-hashes" in arguments else ():
    if hashlib.sha256(name.replace("-", "_").encode()).hexdigest() not in hashes[name]:
        sys.exit("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.")
for name, version in wanted:
    plain = name.replace("-", "_")
    about = target / f"{plain}-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\\nName: {plain}\\nVersion: {version}\\n")
    module = target / re.sub("_cu1[23]", "", plain)
    module.mkdir()
    (module / "__init__.py").write_text("")
    if module.name.endswith("_libs"):
        (module / "libtensorrt_rtx.so.1").write_bytes(b"library")
    record = [f"{plain}-{version}.dist-info/RECORD,,"]
    for file in (about / "METADATA", *sorted(module.iterdir())):
        digest = base64.urlsafe_b64encode(hashlib.sha256(file.read_bytes()).digest()).rstrip(b"=").decode()
        record.append(f"{file.relative_to(target)},sha256={digest},{file.stat().st_size}")
    (about / "RECORD").write_text("\\n".join(record) + "\\n")
    url = f"file:///wheels/{plain}-{version}-py3-none-any.whl"
    sha256 = hashlib.sha256(plain.encode()).hexdigest()
    entry = {"metadata": {"name": plain, "version": version}}
    entry["download_info"] = {"url": url, "archive_info": {"hashes": {"sha256": sha256}}}
    report["install"].append(entry)
if "--report" in arguments:
    pathlib.Path(arguments[arguments.index("--report") + 1]).write_text(json.dumps(report))
"""


class FakePip:
    """A pip that installs empty packages, and remembers what it was asked for."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self._log = folder / "asked"
        self._log.write_text("")
        self.script = folder / "pip"
        self.script.write_text(FAKE_PIP)
        monkeypatch.setenv("FAKE_PIP_LOG", str(self._log))
        monkeypatch.setattr(pip, "find_installer", lambda: [sys.executable, str(self.script)])

    def mode(self, mode: str) -> None:
        """`ok`, or how it fails."""
        self._monkeypatch.setenv("FAKE_PIP_MODE", mode)

    @property
    def asked(self) -> list[list[str]]:
        """The packages of each call."""
        return [json.loads(line) for line in self._log.read_text().splitlines()]


@pytest.fixture
def toolchains_root(tmp_path, monkeypatch):
    """Where environments go in this test."""
    root = tmp_path / "toolchains"
    monkeypatch.setenv("TRTPIPE_TOOLCHAINS", str(root))
    return root


@pytest.fixture
def fake_pip(tmp_path, monkeypatch, toolchains_root):
    """A pip that reaches no index."""
    folder = tmp_path / "fake"
    folder.mkdir()
    return FakePip(folder, monkeypatch)


@pytest.fixture
def packages(tmp_path):
    """Make a directory that holds distributions, as a site-packages does."""

    def make(*distributions: tuple[str, str], modules: tuple[str, ...] = ("tensorrt_rtx",)) -> Path:
        site = tmp_path / f"site{len(list(tmp_path.iterdir()))}"
        site.mkdir()
        for name, version in distributions:
            about = site / f"{name}-{version}.dist-info"
            about.mkdir()
            (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        for module in modules:
            (site / module).mkdir()
            (site / module / "__init__.py").write_text("raise ImportError('must not be imported')\n")
        return site

    return make
