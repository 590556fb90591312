"""`trtpipe fleet start` with real SSH servers: agents come up and serve, and none outlives its starter."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.fleets import AGENT, ROOT, free_port, stand_in_project, trtpipe, wait_until

pytest.importorskip("distributed", reason="needs the extra dask")
pytest.importorskip("asyncssh", reason="needs the extra dask")

import psutil

from tests.fleet.ssh_hosts import SshHosts, ssh_hosts
from trtpipe.launcher.children import interpreter_command

STAND_IN = [sys.executable, str(AGENT), json.dumps({"stand_ins": True})]
HERE = shlex.join(interpreter_command("trtpipe"))
PROGRAM = [sys.executable, str(Path(__file__).with_name("started_program.py"))]


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[SshHosts]:
    with ssh_hosts(tmp_path / "ssh") as found:
        yield found


@dataclass
class Start:
    """A running `fleet start`."""

    hosts: SshHosts
    child: subprocess.Popen[bytes]
    log: Path
    port: int

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def processes(self) -> list[psutil.Process]:
        """All that it started, here and on the hosts, which still runs."""
        started = [living(pid) for one in self.hosts.hosts.values() for pid in one.pids]
        found = [one for one in started if one is not None]
        return found + [one for one in psutil.process_iter(["cmdline"]) if self._is_scheduler(one)]

    def _is_scheduler(self, process: psutil.Process) -> bool:
        words = process.info["cmdline"] or []
        return "scheduler" in words and any(f"//127.0.0.1:{self.port}" in word for word in words)


def own_tracebacks(fleet: Start) -> list[str]:
    """Tracebacks of `fleet start` itself: what its processes print stands behind their names."""
    return [line for line in fleet.said.splitlines() if "Traceback" in line and " | " not in line]


def living(pid: int) -> psutil.Process | None:
    """A process that still runs, looked up once: it may end at any moment."""
    try:
        found = psutil.Process(pid)
        return found if found.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


def write_spec(hosts: SshHosts, command: list[str], port: int, **more: Any) -> Path:
    described = {
        name: {
            "address": "127.0.0.1",
            "port": host.port,
            "user": "builder",
            "identity": str(hosts.identity),
            "command": command,
            **more.get(name, {}),
        }
        for name, host in hosts.hosts.items()
    }
    scheduler = {"address": "127.0.0.1", "port": port, "insecure": True, **more.get("scheduler", {})}
    whole = {"schema": 1, "scheduler": scheduler, "hosts": described, **more.get("whole", {})}
    path = hosts.folder / "fleet.yaml"
    path.write_text(json.dumps(whole))
    return path


def environment_of(hosts: SshHosts) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SSH_", "XDG_"))}
    kept.pop("TRTPIPE_STORE", None)
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return {**kept, "HOME": str(hosts.home), "PYTHONPATH": path, "SECRET_TOKEN": "tok-4711-secret"}


@pytest.fixture
def start(hosts: SshHosts) -> Iterator[Any]:
    running: list[Start] = []

    def begin(command: list[str], *options: str, **more: Any) -> Start:
        port = free_port()
        spec = write_spec(hosts, command, port, **more)
        log = hosts.folder / "log"
        with log.open("wb") as stream:
            child = subprocess.Popen(
                [sys.executable, "-m", "trtpipe", "fleet", "start", "-f", str(spec), *options],
                cwd=hosts.folder, env=environment_of(hosts), stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
                start_new_session=True,
            )  # fmt: skip
        running.append(Start(hosts, child, log, port))
        return running[-1]

    yield begin
    for one in running:
        if one.child.poll() is None:
            one.child.kill()
        one.child.wait()
        for process in one.processes():
            with contextlib.suppress(psutil.NoSuchProcess):  # it was about to end
                process.kill()


def test_agents_come_up_with_sent_certificates_serve_a_build_and_end_with_ctrl_c(
    hosts: SshHosts, start: Any, tmp_path: Path
):
    hosts.add("one"), hosts.add("two")
    keys = tmp_path / "keys"
    assert trtpipe(tmp_path, "fleet", "keygen", "--to", str(keys), home=tmp_path / "client").returncode == 0
    sent = {"certificates": "send"}
    whole = {"certificates": str(keys)}
    fleet = start(STAND_IN, one=sent, two=sent, scheduler={"insecure": False}, whole=whole)
    wait_until(lambda: "one | one serves" in fleet.said and "two | two serves" in fleet.said, "both serve")
    project = stand_in_project(tmp_path / "project")

    done = trtpipe(
        project, "build", "pipelines/digits.yaml", "--only", "digits/fp32@*", "--executor", "dask",
        "--certificates", str(keys), home=tmp_path / "client", scheduler=f"tls://127.0.0.1:{fleet.port}",
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert " to one" in done.stderr or " to two" in done.stderr
    assert len(fleet.processes()) == 3
    fleet.child.send_signal(signal.SIGINT)
    assert fleet.child.wait(60) == 0, fleet.said
    assert fleet.processes() == []
    assert own_tracebacks(fleet) == []


def test_an_agent_ends_with_its_connection_and_is_started_again(hosts: SshHosts, start: Any):
    one = hosts.add("one")
    fleet = start(STAND_IN)
    wait_until(lambda: "one | one serves" in fleet.said, "it serves")
    (first,) = one.pids

    hosts.drop("one")

    wait_until(lambda: living(first) is None, "the agent ends", 30)
    wait_until(lambda: "trying again in 1 s" in fleet.said, "the broken connection is said")
    wait_until(lambda: fleet.said.count("one | one serves") == 2, "it serves again")
    assert len(one.pids) == 2
    fleet.child.terminate()
    assert fleet.child.wait(60) == 0
    assert fleet.processes() == []


@pytest.mark.slow
def test_nothing_outlives_a_starter_that_is_killed(hosts: SshHosts, start: Any):
    hosts.add("one"), hosts.add("two")
    fleet = start(STAND_IN)
    wait_until(lambda: "one | one serves" in fleet.said and "two | two serves" in fleet.said, "both serve")
    assert len(fleet.processes()) == 3

    fleet.child.kill()

    wait_until(lambda: fleet.processes() == [], "all end", 40)


@pytest.mark.slow
def test_hosts_that_refuse_are_named_while_the_others_serve(hosts: SshHosts, start: Any):
    hosts.add("good")
    hosts.add("stranger", is_known=False)
    hosts.add("strict", lets_in=False)

    fleet = start(STAND_IN)
    wait_until(lambda: "good | good serves" in fleet.said, "one serves")

    wait_until(lambda: "stranger: the SSH key that 127.0.0.1 shows" in fleet.said, "the wrong key is said")
    wait_until(lambda: "strict: 127.0.0.1 does not let builder log in" in fleet.said, "the refusal is said")
    assert "ssh-keygen -R '[127.0.0.1]:" in fleet.said and "ssh-copy-id" in fleet.said
    assert hosts.hosts["stranger"].commands == [] and hosts.hosts["strict"].commands == []
    assert own_tracebacks(fleet) == []


@pytest.mark.slow
def test_without_retries_a_program_that_ends_is_named_with_its_last_words(hosts: SshHosts, start: Any):
    hosts.add("one")

    fleet = start([*PROGRAM, "--ends"], "--once")

    assert fleet.child.wait(60) == 1, fleet.said
    assert "one: it ended with exit code 1, after: " in fleet.said
    assert "cannot go on" in fleet.said
    assert len(hosts.hosts["one"].pids) == 1
    assert fleet.processes() == []


def test_no_secret_is_in_a_command_line_or_shown(hosts: SshHosts, start: Any):
    one = hosts.add("one")
    one.home.mkdir(exist_ok=True)
    (one.home / "its own.env").write_text("FROM_FILE='two words'\n")
    more = {"env": ["SECRET_TOKEN"], "env_file": "~/its own.env", "gpus": [0, 2], "lanes": 3}

    fleet = start(PROGRAM, one=more)
    wait_until(lambda: "one | length" in fleet.said, "it has started")

    shown = {"CUDA_VISIBLE_DEVICES": "0,2", "FROM_FILE": "two words", "SECRET_TOKEN": "…"}
    assert f"one | has {json.dumps(shown, ensure_ascii=False)}" in fleet.said
    assert f"one | length {len('tok-4711-secret')}" in fleet.said
    assert "tok-4711" not in fleet.said
    running = [word for process in fleet.processes() for word in process.cmdline()]
    assert running and not any("tok-4711" in word for word in [*running, *one.commands])


@pytest.mark.slow
def test_certificates_are_copied_for_the_user_alone(hosts: SshHosts, start: Any):
    one = hosts.add("one")
    folder = hosts.folder / "certificates"
    folder.mkdir()
    for name in ("ca.crt", "agent.crt", "agent.key", "scheduler.crt", "scheduler.key", "client.key"):
        (folder / name).write_text(f"{name}\n")

    fleet = start(
        PROGRAM,
        one={"certificates": "send"},
        scheduler={"host": "one", "insecure": False},
        whole={"certificates": str(folder)},
    )
    wait_until(lambda: "scheduler | length" in fleet.said and "one | length" in fleet.said, "both start")

    sent = one.home / ".config/trtpipe/fleet-from-ssh"
    assert sent.stat().st_mode & 0o777 == 0o700
    kept = {path.name: (path.read_text(), path.stat().st_mode & 0o777) for path in sent.iterdir()}
    names = ("ca.crt", "agent.crt", "agent.key", "scheduler.crt", "scheduler.key")
    assert kept == {name: (f"{name}\n", 0o600) for name in names}
    assert f'"--certificates", "{sent}"' in fleet.said


def test_a_dry_run_shows_the_commands_and_connects_to_nobody(hosts: SshHosts):
    hosts.add("one")
    spec = write_spec(hosts, ["it's here", "run"], 8786, one={"env": ["SECRET_TOKEN"], "gpus": []})

    done = subprocess.run(
        [sys.executable, "-m", "trtpipe", "fleet", "start", "-f", str(spec), "--dry-run"],
        env=environment_of(hosts), capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "scheduler on this machine:\n"
        f"  {HERE} fleet scheduler tcp://127.0.0.1:8786 --with-starter --insecure\n"
        f"one on builder@127.0.0.1:{hosts.hosts['one'].port}:\n"
        "  passes on SECRET_TOKEN\n"
        "  exec env CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES= 'it'\"'\"'s here' run agent "
        "tcp://127.0.0.1:8786 --with-starter --name one --insecure\n"
    )
    assert hosts.hosts["one"].commands == []


def test_without_the_extra_it_says_what_to_install(tmp_path: Path):
    (tmp_path / "fleet.yaml").write_text(
        "schema: 1\nscheduler: {address: desk, insecure: true}\nhosts: {gpu1: {}}\n"
    )
    blocker = "import sys; sys.modules['asyncssh'] = None; from trtpipe.__main__ import main; main()"

    done = subprocess.run(
        [sys.executable, "-c", blocker, "fleet", "start", "-f", "fleet.yaml"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 2
    assert done.stderr == "a fleet needs the package asyncssh\n  install it: pip install 'trtpipe[dask]'\n"
