"""The files of a fleet: certificates, `fleet.yaml` and options are wrong, and right once the remedy is applied."""
# ruff: noqa: E501 (a row is as long as what it writes)

from __future__ import annotations

import datetime
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.remedies.remedy_places import Cure, Place, Question, Row, apply, asking, rewrite
from trtpipe.problem_codes import Code, ProblemCode

ROOT = Path(__file__).resolve().parents[2]


def keygen(folder: str, days: int = 365) -> Callable[[Place], object]:
    """Make the certificates of a fleet beforehand."""
    from trtpipe.fleet import keygen as making

    return lambda place: making.keygen(place.root / folder, days=days)


def own_home(place: Place) -> None:
    place.patch.setenv("XDG_CONFIG_HOME", str(place.root / "home"))


def run(place: Place, command: str) -> None:
    """Run a command as the remedy writes it: trtpipe's own in this process."""
    program, *arguments = shlex.split(command)
    if program == "trtpipe":
        done = place.ask(arguments)
        assert done.code == 0, done.err
    else:
        subprocess.run([program, *arguments], check=True, cwd=place.root)


def running(place: Place, match: re.Match[str]) -> None:
    """A cure that is a command."""
    run(place, match[1])


def rename(old: str, new: str) -> Callable[[Place], object]:
    return lambda place: (place.root / old).rename(place.root / new)


# -- making certificates

KEYS = ("fleet", "keygen", "--to", "keys")
RENEW = (*KEYS, "--renew")


def both(*steps: Callable[[Place], object]) -> Callable[[Place], None]:
    def before(place: Place) -> None:
        for step in steps:
            step(place)

    return before


def without_home(place: Place) -> None:
    place.patch.setattr("trtpipe.fleet.certificates.config_home", lambda: None)


def open_folder(place: Place) -> None:
    (place.root / "keys").mkdir()
    (place.root / "keys").chmod(0o755)


MADE = [
    Row("certificates for no days", Code.BAD_ARGUMENT, r"write a number from (\d+) to", asking(*KEYS, "--days", r"\1"), ask=(*KEYS, "--days", "0")),
    Row("a certificate for no host", Code.BAD_ARGUMENT, "write a host's name or its IP address", asking(*KEYS, "--host", "gpu1.example.org", "--host", "10.0.0.7"), ask=(*KEYS, "--host", "a b")),
    Row("no home for certificates", Code.NO_SUCH_FILE, r"name a directory with (--to)", asking("fleet", "keygen", r"\1", "keys"), ask=("fleet", "keygen"), before=without_home),
    Row("keys that cannot be written", Code.CANNOT_WRITE, r"name another directory with (--to)", asking("fleet", "keygen", r"\1", "others"), {"keys": "x"}, ask=("fleet", "keygen", "--to", "keys/deep")),
    Row("a directory that others look into", Code.FLEET_CERTIFICATE, r"run `([^`]+)`", running, ask=KEYS, before=open_folder),
    Row("certificates that are there", Code.EXISTS_ALREADY, r"^(--renew) makes new certificates", asking(*KEYS, r"\1"), ask=KEYS, before=keygen("keys")),
    Row("a CA without its key", Code.NO_SUCH_FILE, "put it back to renew", lambda place, _: rename("away", "keys/ca.key")(place) and None, ask=RENEW,
        before=both(keygen("keys"), rename("keys/ca.key", "away"))),
    Row("a CA that is damaged", Code.FLEET_CERTIFICATE, r"trtpipe (fleet) (keygen) (--to) DIR", asking(r"\1", r"\2", r"\3", "others"), ask=RENEW,
        before=both(keygen("keys"), lambda place: place.write("keys/ca.crt", "x"))),
]  # fmt: skip


# -- using them


def used(folder: str = "home/trtpipe/fleet") -> Callable[[Place], object]:
    from trtpipe.fleet.certificates import tls_files

    return lambda place: tls_files(place.root / folder, "agent") and None


def made_long_ago(place: Place) -> None:
    """Certificates in the user's configuration whose days are over."""
    from trtpipe.fleet import keygen as making

    then = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=60)
    now, making._now = making._now, lambda: then
    keygen("home/trtpipe/fleet", 30)(place)
    making._now = now


def clock_of(module: object) -> Callable[[Place], None]:
    return lambda place: place.patch.setattr("trtpipe.fleet.certificates.datetime", module)


class EarlyClock:
    """A machine's clock that is years behind."""

    timezone = datetime.timezone

    class datetime:  # noqa: N801 - the name of what it stands for
        @staticmethod
        def now(zone: datetime.timezone) -> datetime.datetime:
            return datetime.datetime(2001, 1, 1, tzinfo=zone)


def address(text: str) -> Callable[[Place], object]:
    from trtpipe.fleet.places import parse_address

    return lambda _: parse_address(text, "--scheduler") and None


def connection(where: str) -> Callable[[Place], object]:
    from trtpipe.fleet.places import certificates_for, parse_address

    return lambda _: (
        certificates_for(parse_address(where, "--scheduler"), "client", None, insecure=False) and None
    )


def encrypted(place: Place, match: re.Match[str]) -> Question:
    run(place, match[2])
    return connection(f"{match[1]}10.0.0.1:8786")


def copied(source: str, target: str) -> Cure:
    return lambda place, _: (
        shutil.copytree(place.root / source, place.root / target, dirs_exist_ok=True) and None
    )


USED = [
    Row("no certificates", Code.NO_SUCH_FILE, r"make certificates once with `([^`]+)`", running, ask=used(), before=own_home),
    Row("a certificate that expired", Code.FLEET_CERTIFICATE, r"make new ones with `([^`]+)`", running, ask=used(), before=both(own_home, made_long_ago)),
    Row("a certificate of tomorrow", Code.FLEET_CERTIFICATE, "set this machine's clock right", lambda place, _: clock_of(datetime)(place), ask=used("keys"),
        before=both(keygen("keys"), clock_of(EarlyClock))),
    Row("a key that others may read", Code.FLEET_CERTIFICATE, r"run `([^`]+)`", running, ask=used("keys"),
        before=both(keygen("keys"), lambda place: (place.root / "keys/agent.key").chmod(0o644))),
    Row("a key that is damaged", Code.FLEET_CERTIFICATE, "copy its files again from where `trtpipe fleet keygen` made them", copied("made", "keys"), ask=used("keys"),
        before=both(keygen("made"), lambda place: shutil.copytree(place.root / "made", place.root / "keys"), lambda place: (place.root / "keys/agent.key").write_text("x"))),
    Row("no address of a scheduler", Code.BAD_ARGUMENT, r"such as (tls://\S+)", lambda _, m: address(m[1]), ask=address("localhost")),
    Row("a plain connection to another machine", Code.NOT_ENCRYPTED, r"write (tls://) and make certificates with `([^`]+)`", encrypted, ask=connection("tcp://10.0.0.1:8786"), before=own_home),
]  # fmt: skip


# -- fleet.yaml

FLEET = """\
schema: 1
scheduler: {address: desk, insecure: true}
hosts: {gpu1: {}}
"""
START = ("fleet", "start", "-f", "fleet.yaml", "--dry-run")


def file(
    name: str,
    code: ProblemCode,
    wrong: tuple[str, str],
    remedy: str,
    right: str | Cure,
    **more: object,
) -> Row:
    """A fleet.yaml in which `wrong[0]` stands as `wrong[1]`; `right` is what the remedy makes of that."""
    assert wrong[0] in FLEET
    files: Mapping[str, str] = {"fleet.yaml": FLEET.replace(*wrong)}
    cure = right if callable(right) else rewrite((wrong[1], right), file="fleet.yaml")
    return Row(name, code, remedy, cure, files, ask=START, **more)  # type: ignore[arg-type]


SCHEDULER, HOST = "address: desk, insecure: true", "gpu1: {}"
WRITTEN = [
    file("a scheduler on no host", Code.UNKNOWN_NAME, (SCHEDULER, "host: gpu, insecure: true"), r"'(gpu1)'", r"host: \1, insecure: true"),
    file("a scheduler without an address", Code.MISSING_KEY, (SCHEDULER, "insecure: true"), r"reach it: (address: \S+)", r"\1, insecure: true"),
    file("a host called local", Code.INVALID_VALUE, (HOST, "local: {}"), "give it another name", "desk: {}"),
    file("a user in an address", Code.WRONG_FORM, (HOST, "gpu1: {address: me@gpu1}"), r"without user and port: (\S+)", r"gpu1: {address: \1, user: me}"),
    file("the value of a variable", Code.WRONG_FORM, (HOST, "gpu1: {env: [PATH=/bin]}"), "write names only", "gpu1: {env: [PATH]}"),
    file("a relative path on a host", Code.WRONG_FORM, (HOST, "gpu1: {python: bin/python}"), r"a path that begins with / or (~/)", r"gpu1: {python: '\1bin/python'}"),
    file("two programs of a host", Code.OPTIONS_EXCLUDE, (HOST, "gpu1: {python: /bin/python, command: trtpipe}"), "take one of them out", "gpu1: {command: trtpipe}"),
    file("a variable that is not set", Code.BAD_VARIABLE, (HOST, "gpu1: {env: [NOT_SET_HERE]}"), "set it", lambda place, _: place.patch.setenv("NOT_SET_HERE", "1")),
    file("no certificates to send", Code.NO_SUCH_FILE, ("insecure: true}\nhosts: {gpu1: {}", "insecure: false}\nhosts: {gpu1: {certificates: send}"), r"make certificates with `([^`]+)`", running,
        before=own_home),
]  # fmt: skip


# -- options


def options(executor: str | None, scheduler: str | None = None) -> Callable[[Place], object]:
    from trtpipe.cli.fleets.use import FleetOptions
    from trtpipe.loader.project import Project

    return lambda place: FleetOptions(executor, scheduler).wanted(Project(place.root)) and None


def engines(**here: bool) -> Callable[[Place], object]:
    from trtpipe.cli.fleets.use import FleetOptions

    return lambda _: (
        FleetOptions("dask").for_engines({f"--{name}": said for name, said in here.items()}) and None
    )


def fleets_packages(place: Place) -> None:
    from trtpipe.cli.fleets.use import require_dask

    require_dask()


def without_distributed(place: Place) -> None:
    import importlib.util

    found = importlib.util.find_spec
    place.patch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "distributed" else found(name)
    )


def extra_installed(place: Place, match: re.Match[str]) -> None:
    """What pip would bring: the extra that the line names has it."""
    import importlib.util

    text = (ROOT / "pyproject.toml").read_text()
    extra = text.partition(f"\n{match[1]} = [\n")[2].partition("\n]")[0]
    assert '"distributed>=' in extra, f"the extra {match[1]} brings no distributed"
    place.patch.setattr(importlib.util, "find_spec", lambda name: name)


OPTIONS = [
    Row("no executor", Code.BAD_ARGUMENT, r"write (local) or dask", lambda _, m: options(m[1]), ask=options("dusk")),
    Row("a scheduler for no fleet", Code.OPTIONS_EXCLUDE, r"add --executor (dask)", lambda _, m: options(m[1], "tls://desk:8786"), ask=options(None, "tls://desk:8786")),
    Row("a fleet and this machine", Code.OPTIONS_EXCLUDE, "leave one out", lambda *_: engines(cpu=False), ask=engines(cpu=True)),
    Row("no package of fleets", Code.MISSING_PACKAGE, r"pip install 'trtpipe\[(\w+)\]'", extra_installed, ask=fleets_packages, before=without_distributed),
]  # fmt: skip


ROWS = [*MADE, *USED, *WRITTEN, *OPTIONS]


@pytest.fixture(autouse=True)
def _other_home(place: Place) -> None:
    for name in ("TRTPIPE_SCHEDULER", "TRTPIPE_FLEET_CERTIFICATES", "NOT_SET_HERE"):
        place.patch.delenv(name, raising=False)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_remedy_works(row: Row, place: Place):
    pytest.importorskip("cryptography", reason="not run: needs the extra remote")
    apply(row, place)
