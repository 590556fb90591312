"""Runs a workflow of GitHub Actions as GitHub does: jobs in the order of their needs, matrices, expressions, outputs.

It knows what the workflows of `trtpipe ci init` use, and fails on anything else. Lines of shell are run by bash. The
actions of others are played: a checkout is a clone, artifacts and caches are directories.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.endtoend.ci_machines import Machines, Repository, copy_into

_TOKEN = re.compile(r"\s*('(?:[^']|'')*'|&&|\|\||==|!=|!|[(),\[\]]|[A-Za-z_][\w.-]*|\d+)")
_WORDS = {"&&": " and ", "||": " or ", "!": " not "}
_STATUS = ("success", "failure", "cancelled", "always")
OURS = {"owner/repo": "a token that may write"}


class Value(dict[str, Any]):
    """A context: what it lacks is empty, as in GitHub's expressions."""

    def __missing__(self, key: str) -> object:
        return ""


@dataclass
class JobRun:
    """One job, or one job of a matrix, that has ended."""

    name: str
    result: str
    log: str
    summary: str
    annotations: list[str]
    environments: list[dict[str, str]]
    """The variables of each line of shell that ran."""


@dataclass
class GitHub:
    """A repository on GitHub, its runners, and the caches that outlive a run."""

    repository: Repository
    machines: Machines
    caches: dict[str, Path] = field(default_factory=dict)
    runs: int = 0

    def push(self, commit: str, branch: str = "main") -> list[JobRun]:
        """What a push to a branch starts."""
        return self._run({"event_name": "push", "ref": f"refs/heads/{branch}", "event": {}}, commit)

    def pull_request(self, commit: str, head: str = "owner/repo") -> list[JobRun]:
        """What a pull request starts; `commit` is merged into the main branch."""
        pull = {"number": 7, "head": {"sha": commit, "repo": {"full_name": head}}}
        facts = {"event_name": "pull_request", "ref": "refs/pull/7/merge", "event": {"pull_request": pull}}
        return self._run(facts, commit)

    def _run(self, facts: dict[str, Any], commit: str) -> list[JobRun]:
        self.runs += 1
        head = (
            facts["event"]
            .get("pull_request", {})
            .get("head", {})
            .get("repo", {})
            .get("full_name", "owner/repo")
        )
        token = OURS.get(head, "a token that may read")
        github = {"repository": "owner/repo", "token": token, "sha": commit, **facts}
        secrets = self.machines.secrets if head in OURS else {}
        text = self.repository.git("show", f"{commit}:.github/workflows/trtpipe.yml")
        return _Run(self, yaml.load(text, yaml.BaseLoader), github, secrets, self._place()).all()

    def _place(self) -> Path:
        return self.machines.place / f"run{self.runs}"


@dataclass
class _Run:
    host: GitHub
    workflow: dict[str, Any]
    github: dict[str, Any]
    secrets: dict[str, str]
    place: Path
    results: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)

    def all(self) -> list[JobRun]:
        assert self.workflow["permissions"] == {"contents": "read"}
        assert set(self.workflow["on"]) == {"pull_request", "push"}
        runs = []
        for name, job in self.workflow["jobs"].items():
            needs = job.get("needs", [])
            needs = [needs] if isinstance(needs, str) else needs
            assert set(needs) <= self.results.keys(), "jobs stand in the order of their needs"
            runs += self._job(name, job, needs)
        return runs

    def _job(self, name: str, job: dict[str, Any], needs: list[str]) -> list[JobRun]:
        before = [self.results[one] for one in needs]
        contexts = {"github": self.github, "needs": self._needs(needs), "secrets": self.secrets}
        if not condition(job.get("if", ""), contexts, _status(before)):
            self.results[name] = "skipped"
            return [JobRun(name, "skipped", "", "", [], [])]
        matrix = evaluated(job["strategy"]["matrix"], contexts) if "strategy" in job else {"include": [{}]}
        runs = []
        for index, chosen in enumerate(matrix["include"]):
            one = {**contexts, "matrix": chosen, "strategy": {"job-index": index}}
            runs.append(_Job(self, job, one, f"{name}-{index}", name).run())
        failed = any(one.result == "failure" for one in runs)
        self.results[name] = "failure" if failed else "success"
        return runs

    def _needs(self, names: list[str]) -> dict[str, Any]:
        return {one: {"result": self.results[one], "outputs": self.outputs.get(one, {})} for one in names}


@dataclass
class _Job:
    run_: _Run
    job: dict[str, Any]
    contexts: dict[str, Any]
    folder: str
    name: str
    log: str = ""
    failed: bool = False
    saved: list[tuple[Path, str]] = field(default_factory=list)
    environments: list[dict[str, str]] = field(default_factory=list)

    def run(self) -> JobRun:
        self.temp = self.run_.place / self.folder
        self.workspace = self.temp / "workspace"
        self.workspace.mkdir(parents=True)
        self.runner = evaluated(self.job["runs-on"], self.contexts)
        self.steps = Value()
        self.contexts |= {"steps": self.steps, "runner": {"os": "Linux"}}
        self.paths: list[str] = []
        (self.temp / "summary").write_text("")
        self.environment = self._environment()
        assert 0 < int(self.job["timeout-minutes"]) <= 360
        self._do(self.job["steps"], self.contexts)
        for source, key in [one for one in self.saved if one[0].exists() and not self.failed]:
            caches = self.run_.host.caches
            caches[key] = self.run_.host.machines.place / "caches" / str(len(caches))
            shutil.copytree(source, caches[key], symlinks=True)
        outputs = {key: evaluated(text, self.contexts) for key, text in self.job.get("outputs", {}).items()}
        self.run_.outputs[self.name] = outputs
        annotations = [line for line in self.log.splitlines() if line.startswith("::error ")]
        summary = (self.temp / "summary").read_text()
        result = "failure" if self.failed else "success"
        return JobRun(self.name, result, self.log, summary, annotations, self.environments)

    def _environment(self) -> dict[str, str]:
        workflow = self.run_.workflow
        declared = {**workflow.get("env", {}), **self.job.get("env", {})}
        return {
            **self.run_.host.machines.environment(self.runner, self.temp / "home"),
            **{name: str(evaluated(text, self.contexts)) for name, text in declared.items()},
            "GITHUB_ACTIONS": "true",
            "GITHUB_WORKSPACE": str(self.workspace),
            "GITHUB_REPOSITORY": "owner/repo",
            "GITHUB_SERVER_URL": "https://github.example",
            "GITHUB_RUN_ID": str(1000 + self.run_.host.runs),
            "GITHUB_RUN_NUMBER": str(self.run_.host.runs),
            "GITHUB_STEP_SUMMARY": str(self.temp / "summary"),
            "GITHUB_EVENT_PATH": str(self._event()),
            "RUNNER_TEMP": str(self.temp),
        }

    def _event(self) -> Path:
        path = self.temp / "event.json"
        path.write_text(json.dumps(self.run_.github["event"]))
        return path

    def _do(self, steps: list[dict[str, Any]], contexts: Mapping[str, Any]) -> None:
        for step in steps:
            if condition(step.get("if", ""), contexts, _status(["failure"] if self.failed else [])):
                try:
                    self._step(step, contexts)
                except subprocess.CalledProcessError:
                    self.failed = True

    def _step(self, step: dict[str, Any], contexts: Mapping[str, Any]) -> None:
        if "run" in step:
            self._shell(step, contexts)
            return
        given = {name: evaluated(text, contexts) for name, text in step.get("with", {}).items()}
        if step["uses"].startswith("./"):
            action = yaml.load((self.workspace / step["uses"] / "action.yml").read_text(), yaml.BaseLoader)
            assert given.keys() <= action["inputs"].keys()
            inputs = {name: given.get(name, one["default"]) for name, one in action["inputs"].items()}
            self._do(action["runs"]["steps"], {**contexts, "inputs": inputs})
            return
        name, _, version = step["uses"].partition("@")
        assert re.fullmatch(r"v\d+|[0-9a-f]{40}", version)
        _ACTIONS[name](self, given)

    def _shell(self, step: dict[str, Any], contexts: Mapping[str, Any]) -> None:
        assert "${{" not in step["run"], "an expression in a line of shell could be shell itself"
        defaults = self.run_.workflow.get("defaults", {}).get("run", {})
        assert (step.get("shell") or defaults["shell"]) == "bash"
        place = self.workspace / (step.get("working-directory") or defaults.get("working-directory", "."))
        files = {name: self.temp / name for name in ("GITHUB_OUTPUT", "GITHUB_PATH")}
        for path in files.values():
            path.write_text("")
        own = {name: str(evaluated(text, contexts)) for name, text in step.get("env", {}).items()}
        path = ":".join([*self.paths, self.environment["PATH"]])
        environment = {
            **self.environment,
            **own,
            "PATH": path,
            **{name: str(one) for name, one in files.items()},
        }
        self.environments.append(environment)
        script = self.temp / "script.sh"
        script.write_text(step["run"])
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)]
        done = subprocess.run(
            command,
            cwd=place,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self.log += f"$ {step.get('name', step['run'])}\n{done.stdout}"
        self.paths = [*files["GITHUB_PATH"].read_text().split(), *self.paths]
        if "id" in step:
            lines = files["GITHUB_OUTPUT"].read_text().splitlines()
            self.steps[step["id"]] = {"outputs": Value(line.partition("=")[::2] for line in lines)}
        done.check_returncode()

    # -- the actions of others

    def checkout(self, given: dict[str, str]) -> None:
        assert given["persist-credentials"] == "false"
        self.run_.host.repository.clone(self.workspace, self.run_.github["sha"])

    def python(self, given: dict[str, str]) -> None:
        assert re.fullmatch(r"3\.\d+(\.\d+)?", given["python-version"])
        for path in given["cache-dependency-path"].split():
            assert (self.workspace / path).is_file()

    def cache(self, given: dict[str, str]) -> None:
        home, caches = Path(self.environment["HOME"]), self.run_.host.caches
        path = home / given["path"].removeprefix("~/")
        near = [key for key in caches if key.startswith(given["restore-keys"].strip())]
        if near:
            copy_into(caches[near[-1]], path)
        self.saved.append((path, f"{given['key']}-{len(caches)}"))

    def upload(self, given: dict[str, str]) -> None:
        to = self.run_.place / "artifacts" / given["name"]
        assert not to.exists(), "an artifact's name may be used once"
        root = self.workspace / given["path"].split()[0].partition("*")[0]
        root = root if root.is_dir() else root.parent
        for pattern in given["path"].split():
            found = [self.workspace / pattern] if "*" not in pattern else self.workspace.glob(pattern)
            for path in found:
                place = to / path.relative_to(root)
                if path.is_dir():
                    copy_into(path, place)
                elif path.is_file():
                    place.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(path, place)

    def download(self, given: dict[str, str]) -> None:
        for artifact in sorted((self.run_.place / "artifacts").glob(given["pattern"])):
            to = self.workspace / given["path"]
            copy_into(artifact, to if given.get("merge-multiple") == "true" else to / artifact.name)


_ACTIONS: dict[str, Callable[[_Job, dict[str, str]], None]] = {
    "actions/checkout": _Job.checkout,
    "actions/setup-python": _Job.python,
    "actions/cache": _Job.cache,
    "actions/upload-artifact": _Job.upload,
    "actions/download-artifact": _Job.download,
}


def _status(before: list[str]) -> dict[str, bool]:
    return {
        "success": all(one == "success" for one in before),
        "failure": "failure" in before,
        "cancelled": False,
        "always": True,
    }


def condition(text: str, contexts: Mapping[str, Any], status: Mapping[str, bool]) -> bool:
    """Whether a step or job is run; without a word about the status, only if all went well."""
    asked = any(f"{name}()" in text for name in _STATUS)
    found = evaluated(text if "${{" in text else "${{" + text + "}}", contexts, status) if text else True
    return bool(found) and (asked or status["success"])


def evaluated(text: object, contexts: Mapping[str, Any], status: Mapping[str, bool] | None = None) -> Any:
    """A value with its expressions evaluated; one expression alone keeps its type."""
    if not isinstance(text, str):
        return text
    alone = re.fullmatch(r"\s*\$\{\{(.*)\}\}\s*", text, re.S)
    if alone and "${{" not in alone[1]:
        return _expression(alone[1], contexts, status or {})
    return re.sub(
        r"\$\{\{(.*?)\}\}", lambda found: _shown(_expression(found[1], contexts, status or {})), text
    )


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _expression(text: str, contexts: Mapping[str, Any], status: Mapping[str, bool]) -> Any:
    functions: dict[str, Callable[..., object]] = {
        **{name: lambda name=name: status[name] for name in _STATUS},
        "fromJSON": json.loads,
        "contains": lambda whole, part: part in whole,
        "hashFiles": lambda *names: "0123",
    }
    names: dict[str, object] = {}
    words, rest = [], text
    while rest.strip():
        found = _TOKEN.match(rest)
        assert found, f"not an expression: {text}"
        word, rest = found[1], rest[found.end() :]
        if word.startswith("'"):
            words.append(repr(word[1:-1].replace("''", "'")))
        elif word[0].isalpha() and word not in functions:
            names[f"v{len(names)}"] = _looked_up(word, contexts)
            words.append(f"v{len(names) - 1}")
        else:
            words.append(_WORDS.get(word, word))
    return eval(" ".join(words), {"__builtins__": {}}, {**functions, **names})  # the tests' own workflows


def _looked_up(path: str, contexts: Mapping[str, Any]) -> object:
    value: Any = contexts
    for part in path.split("."):
        value = value.get(part, "") if isinstance(value, Mapping) else ""
    return value
