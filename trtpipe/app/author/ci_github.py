"""Writes a workflow for GitHub Actions, and the action beside it that installs trtpipe."""

from __future__ import annotations

from trtpipe.app.author.ci_github_blocks import (
    ACTION_FILE,
    BUILD,
    BUILD_CELLS,
    CHANGES,
    CHECK,
    CHECKOUT,
    HEAD,
    LOCK,
    PROVE,
    REPORT,
)
from trtpipe.app.author.ci_matrix import NO_GPU, OPTION
from trtpipe.app.author.ci_needs import CiNeeds
from trtpipe.app.author.ci_text import COMMENT, PUSH, comment_lines, filled, listed

WORKFLOW = ".github/workflows/trtpipe.yml"
ACTION = ".github/actions/trtpipe/action.yml"
_ORDINARY = ("ubuntu-latest",)
_NOT_A_FORK = "github.event.pull_request.head.repo.full_name == github.repository"


def github_files(needs: CiNeeds) -> dict[str, str]:
    """The files by their paths in the repository."""
    return {WORKFLOW: _workflow(needs), ACTION: _action(needs)}


def _workflow(needs: CiNeeds) -> str:
    before = ["check", *(["build"] if needs.builds_anywhere else []), *(["prove"] if needs.gpus else [])]
    parts = {
        "check": CHECK,
        "build": BUILD if needs.builds_anywhere else "",
        "prove": PROVE if needs.gpus else "",
    }
    values = _values(needs)
    text = filled(HEAD, values) + "".join(
        filled(block, {**values, "BEFORE": ", ".join(before[: before.index(name)])})
        for name, block in parts.items()
        if block
    )
    others = before[1:]
    results = {
        "BEFORE": ", ".join(before),
        "RESULTS": "".join(f"{one.upper()}: ${{{{ needs.{one}.result }}}}\n" for one in others),
        "RESULT_WORDS": "".join(f", {one} ${one.upper()}" for one in others),
    }
    return text + filled(REPORT, {**values, **results})


def _values(needs: CiNeeds) -> dict[str, str]:
    ordinary = needs.runners.get(NO_GPU, _ORDINARY)
    build = {"FROZEN": "--frozen " if needs.has_lockfile else "", "PUSH": PUSH if needs.remote else ""}
    return {
        "ABOUT": _about(needs),
        "BRANCH": needs.choices.branch,
        "INSIDE": f"working-directory: {needs.directory}\n" if needs.directory else "",
        "PREFIX": needs.inside(""),
        "ENV": _environment(needs),
        "ORDINARY": ordinary[0] if len(ordinary) == 1 else f"[{', '.join(ordinary)}]",
        "ACTION": ACTION.rpartition("/")[0],
        "CHECKOUT": filled(CHECKOUT, {"LARGE": "lfs: true\n" if needs.has_large_files else ""}),
        "LOCK": LOCK if needs.has_lockfile else "",
        "BUILD": filled(BUILD_CELLS, build),
        "CHANGES": CHANGES,
        "COMMENT": COMMENT,
        "NOT_A_FORK": _NOT_A_FORK,
        "ACCESS": _secrets(needs),
        "NO_REMOTE": 'env:\n  TRTPIPE_REMOTE: "" # the remote store is not needed here\n'
        if needs.remote
        else "",
        **_lists(needs, ",".join(ordinary)),
    }


def _lists(needs: CiNeeds, ordinary: str) -> dict[str, str]:
    """The matrices that jobs hand on: which of them, and the lines that make them."""
    named = [f"{OPTION} {gpu}={','.join(needs.runners[gpu])}" for gpu in needs.gpus]
    commands = {
        "build": f"trtpipe ci matrix {OPTION} {NO_GPU}={ordinary}" if needs.builds_anywhere else "",
        "prove": " ".join(["trtpipe ci matrix --for run", *named]) if named else "",
    }
    wanted = {name: command for name, command in commands.items() if command}
    return {
        "OUTPUTS": "".join(f"{name}: ${{{{ steps.cells.outputs.{name} }}}}\n" for name in wanted),
        "LIST": "".join(
            f'{name}="$({command})"\necho "{name}=${name}" >> "$GITHUB_OUTPUT"\n'
            for name, command in wanted.items()
        ),
    }


def _about(needs: CiNeeds) -> str:
    sentences = [
        "Actions are named by their major version. To hold one, write the full SHA of a release that you have looked "
        "at in its place.",
    ]
    if needs.unproved:
        gpus = listed(list(needs.unproved))
        sentences.append(
            f"Not proved on a GPU: cells for {gpus}. Name runners that have one: {OPTION} GPU=LABEL."
        )
    if not needs.has_lockfile:
        sentences.append(
            "There was no trtpipe.lock. Commit the one that trtpipe build writes and write this file anew: then "
            "builds must yield what it says."
        )
    return needs.choices.heading() + comment_lines(*sentences)


def _environment(needs: CiNeeds) -> str:
    lines = ""
    if needs.code:
        lines += comment_lines(f"This project may use {listed(needs.code)}: trtpipe allow --list shows it.")
        lines += 'TRTPIPE_ALLOW_PROJECT_CODE: "1"\n'
    if needs.remote:
        lines += f"# Only the branch {needs.choices.branch} writes into the remote store.\n"
        lines += f"TRTPIPE_REMOTE_MODE: ${{{{ {_on_main(needs)} && 'read-write' || 'read-only' }}}}\n"
    return "env:\n" + "".join(f"  {line}\n" for line in lines.splitlines()) + "\n" if lines else ""


def _on_main(needs: CiNeeds) -> str:
    return f"github.ref == 'refs/heads/{needs.choices.branch}'"


def _secrets(needs: CiNeeds) -> str:
    """The variables that reach the remote store: a key that writes for the main branch, one that reads for others."""
    remote = needs.remote
    if remote is None:
        return ""
    main = _on_main(needs)
    values = {
        name: f"{main} && secrets.TRTPIPE_WRITE_{name} || secrets.TRTPIPE_READ_{name}"
        for name in remote.secrets
    }
    values |= {name: f"vars.{name}" for name in remote.settings}
    if remote.signing:
        values[remote.signing] = f"{main} && secrets.{remote.signing} || ''"
    address = f"TRTPIPE_REMOTE: {remote.address}\n" if remote.named else ""
    return address + "".join(f"{name}: ${{{{ {value} }}}}\n" for name, value in values.items())


def _action(needs: CiNeeds) -> str:
    hashed = [needs.inside(one) for one in ("trtpipe.lock", "pipelines/**", "calibration/**")]
    return filled(
        ACTION_FILE,
        {
            "ABOUT": _about(needs),
            "PYTHON": needs.choices.python,
            "PACKAGES": needs.packages,
            "ACTION": ACTION.rpartition("/")[0],
            "REQUIREMENTS": needs.inside("requirements.txt") + "\n" if needs.has_requirements else "",
            "HASHED": ", ".join(f"'{one}'" for one in hashed),
            "DIRECTORY": needs.directory or ".",
        },
    )
