"""The manifests of docs/fleet: each tool that is here reads them, and trtpipe understands every command in them.

No schema of Kubernetes is among the packages that tests use, so kubectl decodes its objects where it is installed.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from typer.main import get_command

from tests.fleet.fleets import ROOT, trtpipe
from trtpipe.cli.main import app
from trtpipe.loader.fleet import load_fleet
from trtpipe.loader.schema import fleet_schema

FOLDER = ROOT / "docs" / "fleet"
KUBERNETES = FOLDER / "kubernetes"
UNITS = sorted((FOLDER / "systemd").glob("*.service"))
OBJECTS = [
    pytest.param(one, id=f"{path.stem}-{one['kind']}")
    for path in sorted(KUBERNETES.glob("*.yaml"))
    for one in yaml.safe_load_all(path.read_text())
]
WITH_PODS = [one for one in OBJECTS if "template" in one.values[0].get("spec", {})]


def require_command(words: Sequence[str]) -> None:
    """Raises a usage error, or KeyError, when trtpipe does not understand a command line."""
    command: Any = get_command(app)
    context, rest = None, list(words)
    name = "trtpipe"
    while hasattr(command, "commands"):
        context = command.make_context(name, rest, parent=context, resilient_parsing=True)
        name, rest = rest[0], rest[1:]
        command = command.commands[name]
    command.make_context(name, rest, parent=context)


def test_a_command_that_does_not_exist_would_be_noticed():
    with pytest.raises(Exception, match="No such option: --lane"):
        require_command(["agent", "tls://a:1", "--lane", "4"])
    with pytest.raises(KeyError):
        require_command(["fleet", "schedule"])


@pytest.mark.parametrize("one", OBJECTS)
def test_every_object_has_a_kind_and_a_name(one: Mapping[str, Any]):
    assert one["apiVersion"] and one["kind"]
    assert one["kind"] == "Kustomization" or {"name", "generateName"} & one["metadata"].keys()


@pytest.mark.parametrize("one", WITH_PODS)
def test_pods_run_commands_that_exist(one: Mapping[str, Any]):
    for container in one["spec"]["template"]["spec"]["containers"]:
        require_command(container["args"])
        named = set(re.findall(r"\$\((\w+)\)", " ".join(container["args"])))
        assert named <= {variable["name"] for variable in container.get("env", ())}


@pytest.mark.parametrize("one", WITH_PODS)
def test_pods_mount_what_they_have_and_are_selected(one: Mapping[str, Any]):
    template = one["spec"]["template"]
    pod = template["spec"]
    volumes = {volume["name"] for volume in pod["volumes"]}
    secrets = {volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume}
    made = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())["secretGenerator"]

    for container in [*pod["initContainers"], *pod["containers"]]:
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
    assert secrets and secrets <= {secret["name"] for secret in made}
    selector = one["spec"].get("selector", {}).get("matchLabels", {})
    assert selector.items() <= template["metadata"]["labels"].items()
    assert one["kind"] == "Job" or selector


@pytest.mark.parametrize("one", WITH_PODS)
def test_pods_may_do_no_more_than_they_need(one: Mapping[str, Any]):
    """What the profile `restricted` of Kubernetes' pod security standards asks for."""
    pod = one["spec"]["template"]["spec"]

    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in [*pod["initContainers"], *pod["containers"]]:
        allowed = container["securityContext"]
        assert allowed["allowPrivilegeEscalation"] is False
        assert allowed["readOnlyRootFilesystem"] is True
        assert allowed["capabilities"] == {"drop": ["ALL"]}


def test_network_policies_are_about_pods_that_there_are():
    labels = [one.values[0]["spec"]["template"]["metadata"]["labels"]["app"] for one in WITH_PODS]
    policies = list(yaml.safe_load_all((KUBERNETES / "network.yaml").read_text()))

    assert {one["spec"]["podSelector"]["matchLabels"]["app"] for one in policies} == set(labels)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="not run: needs kubectl")
def test_kubectl_makes_one_manifest_of_all_and_of_the_keys(tmp_path: Path):
    shutil.copytree(KUBERNETES, tmp_path / "kubernetes")
    keys = tmp_path / "kubernetes" / "certificates"
    assert trtpipe(tmp_path, "fleet", "keygen", "--to", str(keys), home=tmp_path).returncode == 0

    done = subprocess.run(
        ["kubectl", "kustomize", str(tmp_path / "kubernetes")], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    made = list(yaml.safe_load_all(done.stdout))
    secrets = {one["metadata"]["name"]: one["data"].keys() for one in made if one["kind"] == "Secret"}
    assert sorted(map(sorted, secrets.values())) == [
        ["agent.crt", "agent.key", "ca.crt"],
        ["ca.crt", "scheduler.crt", "scheduler.key"],
    ]
    used = {
        volume["secret"]["secretName"]
        for one in made
        if one["kind"] == "Deployment"
        for volume in one["spec"]["template"]["spec"]["volumes"]
        if "secret" in volume
    }
    assert used == set(secrets)
    assert {one["metadata"].get("namespace") for one in made if one["kind"] != "Namespace"} == {"trtpipe"}


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="not run: needs kubectl")
@pytest.mark.parametrize("name", ["scheduler", "agents", "job"])
def test_kubectl_decodes_each_object(name: str, tmp_path: Path):
    """Into its own types, without a cluster: a number where a text belongs is refused."""
    text = (KUBERNETES / f"{name}.yaml").read_text()
    (tmp_path / "right.yaml").write_text(text)
    (tmp_path / "wrong.yaml").write_text(text.replace("runAsUser: 10001", "runAsUser: someone"))

    for file, right in (("right.yaml", True), ("wrong.yaml", False)):
        done = subprocess.run(
            ["kubectl", "set", "env", "--local", "-f", str(tmp_path / file), "ADDED=1", "-o", "yaml"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ("ADDED" in done.stdout) == right, done.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_units_run_commands_that_exist(unit: Path):
    (line,) = re.findall(r"^ExecStart=(.+)$", unit.read_text(), re.MULTILINE)
    program, *words = shlex.split(line)

    assert program == "/opt/trtpipe/bin/trtpipe"
    require_command(words)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="not run: needs systemd-analyze")
@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_systemd_takes_each_unit(unit: Path, tmp_path: Path):
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace("/opt/trtpipe/bin/trtpipe", shutil.which("true") or ""))

    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_the_slurm_job_starts_an_agent_for_each_task(tmp_path: Path):
    script = FOLDER / "agents.sbatch"
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "srun").write_text(
        '#!/bin/bash\nwhile [[ $1 == --* ]]; do shift; done\nSLURM_PROCID=3 exec "$@"\n'
    )
    (programs / "trtpipe").write_text('#!/bin/bash\nprintf "%s\\n" "$@" "$XDG_CACHE_HOME"\n')
    for one in programs.iterdir():
        one.chmod(0o755)
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}", "HOME": "/home/me", "TRTPIPE": str(programs / "trtpipe"),
        "SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "4", "TMPDIR": "/scratch",
    }  # fmt: skip

    refused = subprocess.run(
        ["bash", str(script)], env=environment, capture_output=True, text=True, check=False
    )
    done = subprocess.run(
        ["bash", str(script)], env=environment | {"TRTPIPE_SCHEDULER": "tls://login:8786"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert "set it to the address of the scheduler" in refused.stderr
    *words, cache = done.stdout.splitlines()
    require_command(words)
    assert words[:4] == ["agent", "tls://login:8786", "--certificates", "/home/me/.config/trtpipe/fleet"]
    assert words[-3].endswith("-3") and words[-2:] == ["--lanes", "4"]
    assert cache == "/scratch/trtpipe-7"


def test_the_image_is_made_of_files_that_are_there():
    lines = (FOLDER / "Containerfile").read_text().splitlines()
    copied = [word for line in lines if line.startswith("COPY") for word in line.split()[1:-1]]

    assert copied and all((ROOT / word).exists() for word in copied)
    entry = yaml.safe_load(next(line for line in lines if line.startswith("ENTRYPOINT")).split(" ", 1)[1])
    command = yaml.safe_load(next(line for line in lines if line.startswith("CMD")).split(" ", 1)[1])
    assert entry == ["trtpipe"]
    require_command(command)
    user = next(line for line in lines if line.startswith("USER")).split()[1]
    for one in WITH_PODS:
        context = one.values[0]["spec"]["template"]["spec"]["securityContext"]
        assert user == f"{context['runAsUser']}:{context['runAsGroup']}"


def test_the_example_of_a_fleet_is_one():
    text = (FOLDER / "fleet.yaml").read_text()

    assert set(load_fleet(FOLDER / "fleet.yaml").hosts) == {"gpu1", "gpu2", "orin"}
    Draft202012Validator(fleet_schema()).validate(yaml.safe_load(text))


def test_python_of_the_image_is_one_that_trtpipe_takes():
    (version,) = re.findall(
        r"^FROM .*python:(\S+)-slim$", (FOLDER / "Containerfile").read_text(), re.MULTILINE
    )

    assert tuple(map(int, version.split("."))) >= (3, 10)
