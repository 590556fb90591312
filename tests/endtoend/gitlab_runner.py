"""Runs the jobs of a GitLab pipeline as GitLab does: `extends`, rules, needs, artifacts and caches, with `sh`.

It knows what the files of `trtpipe ci init` use, and fails on anything else.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.endtoend.ci_machines import Machines, Repository, copy_into

_CONDITION = re.compile(r'\$(\w+) (==|!=) (?:"([^"]*)"|\$(\w+))')
_KEYS = {
    "image", "timeout", "interruptible", "variables", "rules", "before_script", "cache", "script", "artifacts",
    "needs", "tags",
}  # fmt: skip


@dataclass
class JobRun:
    """A job that has ended."""

    name: str
    failed: bool
    log: str
    quality: list[dict[str, Any]]
    """The problems that a merge request shows at their lines."""
    junit: str
    variables: dict[str, str]


@dataclass
class GitLab:
    """A project on GitLab, its runners and its caches."""

    repository: Repository
    machines: Machines
    caches: dict[str, Path] = field(default_factory=dict)
    runs: int = 0

    def push(self, commit: str) -> dict[str, JobRun]:
        """What a push to the protected main branch starts."""
        return self._run({**_pushed("main", protected=True), "CI_COMMIT_BEFORE_SHA": "0" * 40}, commit)

    def variables(self, commit: str, branch: str, *, protected: bool) -> dict[str, dict[str, str]]:
        """The variables of each job that a push to a branch would start."""
        jobs, facts = self._jobs(commit), _pushed(branch, protected=protected)
        rules = {name: _rule(job["rules"], facts) for name, job in jobs.items()}
        return {
            name: {**jobs[name]["variables"], **rule.get("variables", {})}
            for name, rule in rules.items()
            if rule is not None
        }

    def _jobs(self, commit: str) -> dict[str, dict[str, Any]]:
        text = self.repository.git("show", f"{commit}:.gitlab/trtpipe.yml")
        return _with_templates(yaml.load(text, yaml.BaseLoader))

    def merge_request(self, commit: str, source_project: str = "3", token: str = "") -> dict[str, JobRun]:
        """What a merge request into the main branch starts."""
        facts = {
            "CI_PIPELINE_SOURCE": "merge_request_event",
            "CI_MERGE_REQUEST_IID": "7",
            "CI_MERGE_REQUEST_PROJECT_ID": "3",
            "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": source_project,
            "CI_MERGE_REQUEST_DIFF_BASE_SHA": self.repository.git("rev-parse", "main"),
        }
        return self._run({**facts, **({"TRTPIPE_GITLAB_TOKEN": token} if token else {})}, commit)

    def _run(self, facts: dict[str, str], commit: str) -> dict[str, JobRun]:
        self.runs += 1
        place = self.machines.place / f"run{self.runs}"
        jobs = self._jobs(commit)
        facts |= {
            "CI_COMMIT_SHA": commit,
            "CI_PROJECT_ID": "3",
            "CI_API_V4_URL": "https://gitlab.example/api/v4",
            "CI_PIPELINE_ID": str(self.runs),
            "CI_PIPELINE_URL": f"https://gitlab.example/pipelines/{self.runs}",
        }
        done: dict[str, JobRun] = {}
        chosen = {
            name: rule for name, job in jobs.items() if (rule := _rule(job["rules"], facts)) is not None
        }
        for name, rule in chosen.items():
            needs = [one if isinstance(one, dict) else {"job": one} for one in jobs[name].get("needs", [])]
            assert all(one["job"] in chosen or one.get("optional") == "true" for one in needs), "no such job"
            before = [done[one["job"]] for one in needs if one["job"] in done]
            missing = [one["job"] for one in needs if one["job"] in chosen and one["job"] not in done]
            failed = missing or any(one.failed for one in before)
            if not failed or rule.get("when") == "always":
                variables = {**jobs[name].get("variables", {}), **rule.get("variables", {})}
                done[name] = self._job(
                    name, jobs[name], {**variables, **facts}, place, [one.name for one in before]
                )
        return done

    def _job(
        self, name: str, job: dict[str, Any], variables: dict[str, str], place: Path, before: list[str]
    ) -> JobRun:
        assert job.keys() <= _KEYS
        workspace = place / name / "workspace"
        self.repository.clone(workspace, variables["CI_COMMIT_SHA"])
        for one in before:
            if (place / one / "artifacts").exists():
                copy_into(place / one / "artifacts", workspace)
        variables = {
            "CI_PROJECT_DIR": str(workspace),
            "CI_JOB_NAME_SLUG": name,
            "GITLAB_CI": "true",
            **variables,
        }
        variables = {key: _expanded(text, variables) for key, text in variables.items()}
        (tag,) = job.get("tags", ["none"])
        environment = {**self.machines.environment(tag, place / name / "home"), **variables}
        cached = [workspace / path for path in job.get("cache", {}).get("paths", [])]
        for path in cached:
            if (kept := self.caches.get(f"{name}:{path.name}")) is not None:
                copy_into(kept, path)
        done = _shell([*job["before_script"], *job["script"]], workspace, environment)
        for path in cached if done.returncode == 0 else []:
            if path.exists():
                kept = self.caches[f"{name}:{path.name}"] = place / name / "cache" / path.name
                copy_into(path, kept)
        return self._ended(name, job, done, workspace, variables)

    def _ended(
        self,
        name: str,
        job: dict[str, Any],
        done: subprocess.CompletedProcess[str],
        workspace: Path,
        variables: dict[str, str],
    ) -> JobRun:
        artifacts = job["artifacts"]
        assert artifacts["when"] == "always"
        for path in artifacts["paths"]:
            source, to = workspace / path, workspace.parent / "artifacts" / path
            if source.is_dir():
                copy_into(source, to)
            elif source.is_file():
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, to)
        reports = artifacts.get("reports", {})
        quality, junit = (workspace / reports.get(key, "none") for key in ("codequality", "junit"))
        return JobRun(
            name,
            done.returncode != 0,
            done.stdout,
            json.loads(quality.read_text()) if quality.is_file() else [],
            junit.read_text() if junit.is_file() else "",
            variables,
        )


def _pushed(branch: str, *, protected: bool) -> dict[str, str]:
    return {
        "CI_PIPELINE_SOURCE": "push",
        "CI_COMMIT_BRANCH": branch,
        "CI_COMMIT_REF_PROTECTED": str(protected).lower(),
    }


def _with_templates(text: dict[str, Any]) -> dict[str, dict[str, Any]]:
    jobs = {}
    for name, job in text.items():
        if not name.startswith("."):
            template = text[job.pop("extends")]
            variables = {**template.get("variables", {}), **job.get("variables", {})}
            jobs[name] = {**template, **job, "variables": variables}
    return jobs


def _rule(rules: list[dict[str, Any]], facts: dict[str, str]) -> dict[str, Any] | None:
    """The first rule that holds; None where none does, or where it says never."""
    for rule in rules:
        if all(_holds(one, facts) for one in rule["if"].split(" && ")):
            return None if rule.get("when") == "never" else rule
    return None


def _holds(condition: str, facts: dict[str, str]) -> bool:
    found = _CONDITION.fullmatch(condition)
    assert found, f"not a condition: {condition}"
    name, operator, text, other = found.groups()
    same = facts.get(name) == (facts.get(other) if other else text)
    return same == (operator == "==")


def _expanded(text: str, variables: dict[str, str]) -> str:
    return re.sub(r"\$(\w+)", lambda found: variables[found[1]], text)


def _shell(lines: list[str], cwd: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-e", "-c", "\n".join(lines)],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
