"""`fleet.yaml`: what it may say, and how mistakes are told with their lines."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from trtpipe.errors import SpecError
from trtpipe.hosts.launches import fleet_of
from trtpipe.loader.fleet import load_fleet
from trtpipe.problem_codes import Code

HEAD = "schema: 1\nscheduler: {address: desk, insecure: true}\n"


def load(folder: Path, text: str):
    path = folder / "fleet.yaml"
    path.write_text(textwrap.dedent(text))
    return load_fleet(path)


@pytest.mark.parametrize(
    ("text", "line", "fact"),
    [
        (HEAD, 1, "missing key 'hosts'"),
        (f"{HEAD}hosts: {{}}\n", 3, "'hosts' is empty"),
        (f"{HEAD}hosts:\n  gpu1: {{adress: a}}\n", 4, "unknown key 'adress'"),
        (f"{HEAD}hosts:\n  gpu1:\n    port: 70000\n", 5, "'port' must be at most 65535, not 70000"),
        (
            f"{HEAD}hosts:\n  gpu1:\n    address: builder@gpu1\n",
            5,
            "'builder@gpu1' is not the name or address",
        ),
        (f"{HEAD}hosts:\n  gpu1:\n    env: [TOKEN=4711]\n", 5, "'TOKEN' is not the name of a variable"),
        (f"{HEAD}hosts:\n  gpu1:\n    python: bin/python\n", 5, "'bin/python' is relative"),
        (f"{HEAD}hosts:\n  gpu1:\n    certificates: sent\n", 5, "'sent' is relative"),
        (
            f"{HEAD}hosts:\n  gpu1:\n    python: /usr/bin/python3\n    command: a\n",
            4,
            "both 'python' and 'command'",
        ),
        (f"{HEAD}hosts:\n  -a: {{}}\n", 4, "not a name: '-a'"),
        (f"{HEAD}hosts:\n  local: {{}}\n", 4, "a host is called 'local'"),
        ("schema: 1\nscheduler:\n  host: gpu2\nhosts: {gpu1: {}}\n", 3, "no host is called 'gpu2'"),
        (
            "schema: 1\nscheduler:\n  port: 8786\nhosts: {gpu1: {}}\n",
            2,
            "missing key 'address' in 'scheduler'",
        ),
        ("schema: 1\nhosts: {gpu1: {}}\n", 1, "missing key 'address' in 'scheduler'"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, text: str, line: int, fact: str):
    with pytest.raises(SpecError) as caught:
        load(tmp_path, text)

    (problem,) = caught.value.problems
    assert problem.fact.startswith(fact)
    assert problem.where is not None and problem.where.line == line


def test_the_value_of_a_variable_is_not_repeated(tmp_path: Path):
    with pytest.raises(SpecError) as caught:
        load(tmp_path, f"{HEAD}hosts:\n  gpu1:\n    env:\n      - TOKEN=4711\n")

    assert "4711" not in caught.value.problems[0].fact + caught.value.problems[0].remedy


def test_a_variable_that_is_not_set_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("NOT_SET_HERE", raising=False)
    spec = load(tmp_path, f"{HEAD}hosts: {{gpu1: {{env: [NOT_SET_HERE]}}}}\n")

    with pytest.raises(SpecError, match="NOT_SET_HERE, which host 'gpu1' is to get, is not set here"):
        fleet_of(spec)


def test_certificates_that_are_not_there_are_named(tmp_path: Path):
    head = f"schema: 1\nscheduler: {{address: desk}}\ncertificates: {tmp_path}\n"
    spec = load(tmp_path, f"{head}hosts: {{gpu1: {{certificates: send}}}}\n")

    with pytest.raises(SpecError) as caught:
        fleet_of(spec)

    assert caught.value.problems[0].code is Code.NO_SUCH_FILE
    assert "trtpipe fleet keygen" in caught.value.problems[0].remedy


@pytest.mark.parametrize(
    ("scheduler", "address", "listens"),
    [
        ("{address: desk}", "tls://desk:8786", "tls://0.0.0.0:8786"),
        ("{address: 127.0.0.1, insecure: true}", "tcp://127.0.0.1:8786", "tcp://127.0.0.1:8786"),
        ("{address: '[2001:db8::1]'}", "tls://[2001:db8::1]:8786", "tls://[::]:8786"),
        ("{host: gpu1, port: 9000}", "tls://10.0.0.5:9000", "tls://0.0.0.0:9000"),
        ("{host: gpu1, address: outside}", "tls://outside:8786", "tls://0.0.0.0:8786"),
    ],
)
def test_agents_dial_the_address_and_the_scheduler_listens(
    tmp_path: Path, scheduler: str, address: str, listens: str
):
    spec = load(tmp_path, f"schema: 1\nscheduler: {scheduler}\nhosts: {{gpu1: {{address: 10.0.0.5}}}}\n")

    fleet = fleet_of(spec)

    assert (
        f"exec trtpipe agent '{address}'".replace("'", "'" if "[" in address else "")
        in fleet.agents[0].command
    )
    assert listens in fleet.scheduler.command
    assert (fleet.scheduler.host is None) == ("gpu1" not in scheduler)


def test_every_word_is_quoted_and_a_home_is_that_of_the_host(tmp_path: Path):
    spec = load(
        tmp_path,
        f"""\
{HEAD}hosts:
  gpu1: {{command: [~/my tools/run; rm -rf /, "$(id)"], env_file: ~/a b.env, lanes: 2}}
""",
    )

    assert fleet_of(spec).agents[0].command == (
        """exec sh -c 'set -a; . "$1"; set +a; shift; exec "$@"' sh "$HOME"/'a b.env' """
        """"$HOME"/'my tools/run; rm -rf /' '$(id)' agent tcp://desk:8786 """
        "--with-starter --name gpu1 --lanes 2 --insecure"
    )
