"""What the runners of a CI system have on their PATH in the tests.

That is a `python` that makes environments in which trtpipe is this checkout's, and `gh` and `curl` that keep the
comments of a pull request in a file and write down each call.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BASE_INSTALL = HERE / "base_install"

_PYTHON = """\
#!{python}
import os, pathlib, sys
words = sys.argv[1:]
if words[:2] == ["-m", "venv"]:
    programs = pathlib.Path(words[2], "bin")
    programs.mkdir(parents=True, exist_ok=True)
    for name, content in {programs!r}.items():
        (programs / name).write_text(content)
        (programs / name).chmod(0o755)
else:
    os.execv({python!r}, [{python!r}, *words])
"""
_PIP = """\
#!{python}
import json, os, sys
words = sys.argv[1:]
if words[:3] == ["-m", "pip", "install"]:
    open({installed!r}, "a").write(json.dumps(words[3:]) + "\\n")
else:
    os.execv({python!r}, [{python!r}, *words])
"""
_TRTPIPE = """\
#!/bin/sh
export PYTHONPATH='{path}'
exec '{python}' {module} "$@"
"""
_GH = """\
#!{python}
import json, os, pathlib, subprocess, sys
state, words = pathlib.Path({state!r}), sys.argv[1:]
told = json.loads(state.read_text())
options, places, left = {{}}, [], iter(words[1:])
for word in left:
    if word in ("--method", "--field", "--jq"):
        options[word] = next(left)
    elif not word.startswith("--"):
        places.append(word)
method = options.get("--method", "GET")
told["calls"].append([method, *places])
state.write_text(json.dumps(told))
if words[0] != "api" or os.environ.get("GH_TOKEN") != "a token that may write":
    sys.exit("gh: HTTP 403: Resource not accessible by integration")
if method == "GET":
    text = json.dumps(told["comments"])
    sys.exit(subprocess.run(["jq", "-r", options["--jq"]], input=text, text=True).returncode)
key, _, file = options["--field"].partition("=@")
body = pathlib.Path(file).read_text()
if len(body) > 65536:
    sys.exit("gh: HTTP 422: body is too long")
if method == "POST":
    number = 100 + len(told["comments"])
    told["comments"].append({{"id": number, "user": {{"login": "github-actions[bot]"}}, key: body}})
else:
    (one,) = [one for one in told["comments"] if str(one["id"]) == places[0].rpartition("/")[2]]
    one[key] = body
state.write_text(json.dumps(told))
"""
_CURL = """\
#!{python}
import json, os, pathlib, sys, urllib.parse
state, words = pathlib.Path({state!r}), sys.argv[1:]
told = json.loads(state.read_text())
options, left = {{}}, iter(words)
for word in left:
    if word in ("--request", "--header", "--data-urlencode", "--output"):
        options[word] = next(left)
    elif not word.startswith("--"):
        address = urllib.parse.urlsplit(word)
method = options.get("--request", "GET")
told["calls"].append([method, address.path])
state.write_text(json.dumps(told))
if options.get("--header") != "PRIVATE-TOKEN: a token that may write":
    sys.exit(22)
if method == "GET":
    asked = dict(urllib.parse.parse_qsl(address.query))
    size, page = int(asked["per_page"]), int(asked["page"])
    print(json.dumps(told["comments"][(page - 1) * size : page * size]))
    sys.exit()
key, _, file = options["--data-urlencode"].partition("@")
body = pathlib.Path(file).read_text()
if method == "POST":
    told["comments"].append({{"id": 100 + len(told["comments"]), key: body}})
else:
    (one,) = [one for one in told["comments"] if str(one["id"]) == address.path.rpartition("/")[2]]
    one[key] = body
state.write_text(json.dumps(told))
"""


@dataclass
class Machines:
    """The machines of a CI system below `place`; `gpu` says which runners have one."""

    place: Path
    gpu: frozenset[str] = frozenset()
    secrets: dict[str, str] = field(default_factory=dict)
    only_told: bool = False
    """Whether trtpipe only writes down what it is told, except for `ci matrix`."""

    def __post_init__(self) -> None:
        for folder in ("bin", "gpu/bin"):
            (self.place / folder).mkdir(parents=True)
        self.state.write_text(json.dumps({"calls": [], "comments": []}))
        self.installed.write_text("")
        self.told.write_text("")
        values = {"python": sys.executable, "state": str(self.state), "installed": str(self.installed)}
        told = f"{HERE / 'told_trtpipe.py'} {self.told}" if self.only_told else ""
        for folder, module in (
            ("bin", told or "-m trtpipe"),
            ("gpu/bin", told or str(HERE / "gpu_machine.py")),
        ):
            trtpipe = _TRTPIPE.format(path=f"{ROOT}:{BASE_INSTALL}", python=sys.executable, module=module)
            programs = {"python": _PIP.format(**values), "trtpipe": trtpipe}
            python = _PYTHON.format(python=sys.executable, programs=programs)
            texts = {
                "python": python,
                "python3": python,
                "gh": _GH.format(**values),
                "curl": _CURL.format(**values),
            }
            for name, text in texts.items():
                path = self.place / folder / name
                path.write_text(text)
                path.chmod(0o755)

    @property
    def state(self) -> Path:
        return self.place / "state.json"

    @property
    def installed(self) -> Path:
        return self.place / "installed"

    @property
    def told(self) -> Path:
        return self.place / "told"

    @property
    def calls(self) -> list[list[str]]:
        """What `gh` or `curl` was asked: the method and the address of each call."""
        return self._told()["calls"]

    @property
    def comments(self) -> list[dict[str, Any]]:
        return self._told()["comments"]

    def add_comment(self, **comment: object) -> None:
        """A comment that somebody else wrote."""
        told = self._told()
        told["comments"].append(comment)
        self.state.write_text(json.dumps(told))

    def _told(self) -> dict[str, Any]:
        return json.loads(self.state.read_text())

    def environment(self, runner: object, home: Path) -> dict[str, str]:
        """The variables that a machine has before a job begins."""
        programs = "gpu/bin" if runner in self.gpu else "bin"
        home.mkdir(parents=True, exist_ok=True)
        return {
            "PATH": f"{self.place / programs}:{os.environ['PATH']}",
            "HOME": str(home),
            "LC_ALL": "C.UTF-8",
        }


@dataclass
class Repository:
    """A git repository with a project, and the commits that CI runs on."""

    root: Path
    directory: str = ""

    def __post_init__(self) -> None:
        self.git("init", "--quiet", "--initial-branch", "main")

    @property
    def project(self) -> Path:
        return self.root / self.directory

    def git(self, *words: str) -> str:
        names = [f"{role}_{what}" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")]
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.root),
            **{f"GIT_{one}": "a@b.c" for one in names},
        }
        done = subprocess.run(
            ["git", *words], cwd=self.root, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit(self, message: str) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
        return self.git("rev-parse", "HEAD")

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.project / name
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    def clone(self, to: Path, commit: str) -> None:
        """What the checkout of a job leaves."""
        self.git("clone", "--quiet", "--no-checkout", str(self.root), str(to))
        self.git("-C", str(to), "checkout", "--quiet", commit)


def copy_into(source: Path, to: Path) -> None:
    """Merge a directory into another one."""
    shutil.copytree(source, to, dirs_exist_ok=True, symlinks=True)
