"""The certificates of a fleet: what is made, what is refused, and that dask admits nobody without one."""

from __future__ import annotations

import asyncio
import datetime
import os
import shutil
import socket
import ssl
import stat
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from trtpipe.cli.fleets.keygen import keygen_command
from trtpipe.errors import SpecError
from trtpipe.fleet import keygen as making
from trtpipe.fleet.certificates import (
    ROLES,
    Role,
    TlsContexts,
    dask_security,
    fleet_folder,
    ssl_contexts,
    tls_files,
)
from trtpipe.fleet.keygen import keygen
from trtpipe.problem_codes import Code

FILES = sorted(f"{name}.{kind}" for name in ("ca", *ROLES) for kind in ("crt", "key"))


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def own(certificates: Path, tmp_path: Path) -> Path:
    """A copy of a fleet's files, to be damaged."""
    return Path(shutil.copytree(certificates, tmp_path / "own"))


def refusal(folder: Path, role: Role = "agent") -> tuple[Code, str]:
    with pytest.raises(SpecError) as caught:
        tls_files(folder, role)
    (problem,) = caught.value.problems
    return problem.code, str(problem)


def made_at(monkeypatch: pytest.MonkeyPatch, folder: Path, days_ago: int) -> None:
    """Certificates for 30 days, made so many days ago."""
    then = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=days_ago)
    with monkeypatch.context() as patch:
        patch.setattr(making, "_now", lambda: then)
        keygen(folder, days=30)


class TestKeygen:
    def test_what_is_made(self, tmp_path: Path):
        before = datetime.datetime.now(datetime.timezone.utc)
        end = keygen(tmp_path / "deep" / "fleet", ["gpu1.example.org", "10.0.0.7", "fd00::7"], days=10)

        folder = tmp_path / "deep" / "fleet"
        assert sorted(path.name for path in folder.iterdir()) == FILES
        authority = certificate(folder / "ca.crt")
        assert authority.extensions.get_extension_for_class(
            x509.BasicConstraints
        ).value == x509.BasicConstraints(ca=True, path_length=0)
        for role in ROLES:
            one = certificate(folder / f"{role}.crt")
            one.verify_directly_issued_by(authority)
            assert abs(one.not_valid_after_utc - before - datetime.timedelta(days=10)).total_seconds() < 60
            assert one.not_valid_after_utc == end.replace(microsecond=0)
            assert not one.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
            names = one.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            assert names.get_values_for_type(x509.DNSName) == ["gpu1.example.org", "localhost"]
            assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == [
                "10.0.0.7", "fd00::7", "127.0.0.1", "::1",
            ]  # fmt: skip
            uses = one.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
            assert (ExtendedKeyUsageOID.SERVER_AUTH in uses) == (role != "client")
            assert ExtendedKeyUsageOID.CLIENT_AUTH in uses

    @pytest.mark.skipif(os.name == "nt", reason="not run: Windows has no such permissions")
    def test_only_the_owner_may_read_keys(self, certificates: Path):
        assert stat.S_IMODE(certificates.stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.stat().st_mode) for path in certificates.glob("*.key")} == {0o600}

    def test_existing_files_stay(self, own: Path):
        before = contents(own)

        with pytest.raises(SpecError) as caught:
            keygen(own)

        assert caught.value.problems[0].code is Code.EXISTS_ALREADY
        assert contents(own) == before

    def test_a_single_file_is_enough_to_stop(self, tmp_path: Path):
        (tmp_path / "fleet").mkdir(mode=0o700)
        (tmp_path / "fleet" / "client.key").write_text("mine")

        with pytest.raises(SpecError, match=r"client.key exists already"):
            keygen(tmp_path / "fleet")

        assert contents(tmp_path / "fleet") == {"client.key": b"mine"}

    def test_renewed_certificates_are_of_the_same_fleet(self, own: Path, certificates: Path):
        before = contents(own)
        keygen(own, renew=True)
        after = contents(own)

        assert {name for name in FILES if before[name] == after[name]} == {"ca.crt", "ca.key"}
        for role in ROLES:
            assert tls_files(own, role)
        assert (
            handshake(ssl_contexts(tls_files(own, "agent")), ssl_contexts(tls_files(certificates, "client")))
            == ""
        )

    def test_renewing_makes_all_where_there_are_none(self, tmp_path: Path):
        keygen(tmp_path / "fleet", renew=True)

        assert tls_files(tmp_path / "fleet", "client")

    @pytest.mark.parametrize(
        ("spoil", "said"),
        [
            (lambda own, other: (own / "ca.key").unlink(), "ca.key is not there"),
            (lambda own, other: (own / "ca.crt").write_text("x"), "cannot be read"),
            (lambda own, other: shutil.copy(other / "ca.key", own / "ca.key"), "is not the key of"),
        ],
        ids=["offline", "damaged", "another"],
    )
    def test_nothing_is_renewed_without_the_ca(
        self, own: Path, other_certificates: Path, spoil: object, said: str
    ):
        spoil(own, other_certificates)
        before = contents(own)

        with pytest.raises(SpecError, match=said):
            keygen(own, renew=True)

        assert contents(own) == before

    def test_no_certificate_outlives_its_ca(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        made_at(monkeypatch, tmp_path / "fleet", 3600)
        end = keygen(tmp_path / "fleet", days=365, renew=True)

        assert end == certificate(tmp_path / "fleet" / "ca.crt").not_valid_after_utc
        assert tls_files(tmp_path / "fleet", "agent")

    def test_a_ca_that_expired_renews_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        made_at(monkeypatch, tmp_path / "fleet", 3651)

        with pytest.raises(SpecError, match=r"the CA in .* expired on 20\d\d-\d\d-\d\d"):
            keygen(tmp_path / "fleet", renew=True)

    @pytest.mark.skipif(os.name == "nt", reason="not run: Windows has no such permissions")
    def test_a_directory_that_others_may_look_into_is_refused(self, tmp_path: Path):
        (tmp_path / "fleet").mkdir()
        (tmp_path / "fleet").chmod(0o755)

        with pytest.raises(SpecError, match="chmod 700"):
            keygen(tmp_path / "fleet")

        assert contents(tmp_path / "fleet") == {}

    @pytest.mark.parametrize(
        "host", ["", "a b", "https://gpu1", "gpu1:8786", "a..b", "é", "-x", "a" * 300, "x\n"]
    )
    def test_a_host_that_is_none_is_refused(self, tmp_path: Path, host: str):
        with pytest.raises(SpecError, match="is not a host"):
            keygen(tmp_path / "fleet", [host])

        assert not (tmp_path / "fleet").exists()

    @pytest.mark.parametrize("days", [0, -1, 3651, 10**12])
    def test_days_are_bounded(self, tmp_path: Path, days: int):
        with pytest.raises(SpecError, match=f"for {days} days"):
            keygen(tmp_path / "fleet", days=days)

    def test_a_place_that_cannot_be_written_is_one_sentence(self, tmp_path: Path):
        (tmp_path / "file").write_text("")

        with pytest.raises(SpecError) as caught:
            keygen(tmp_path / "file" / "fleet")

        assert caught.value.problems[0].code is Code.CANNOT_WRITE

    def test_the_command_says_what_a_certificate_allows(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
        if os.name == "nt":
            monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))

        assert keygen_command(None, ["gpu1"], 30, renew=False) == 0

        out, err = capsys.readouterr()
        assert out == f"{tmp_path / 'trtpipe' / 'fleet'}\n"
        assert "can run any code on every agent" in err
        assert "keep ca.key offline" in err
        assert tls_files(fleet_folder("--to"), "client")


class TestLoading:
    @pytest.mark.parametrize("role", ROLES)
    def test_what_was_made_is_fit(self, certificates: Path, role: Role):
        files = tls_files(certificates, role)

        assert (files.ca, files.certificate, files.key) == (
            certificates / "ca.crt",
            certificates / f"{role}.crt",
            certificates / f"{role}.key",
        )

    def test_a_machine_needs_no_more_than_its_own_files(self, certificates: Path, tmp_path: Path):
        (tmp_path / "machine").mkdir()
        for name in ("ca.crt", "agent.crt", "agent.key"):
            shutil.copy(certificates / name, tmp_path / "machine")

        assert tls_files(tmp_path / "machine", "agent")

    @pytest.mark.parametrize("name", ["ca.crt", "agent.crt", "agent.key"])
    def test_a_missing_file_is_named(self, own: Path, name: str):
        (own / name).unlink()

        code, said = refusal(own)
        assert code is Code.NO_SUCH_FILE
        assert f"{own / name} is not there" in said

    @pytest.mark.parametrize("name", ["ca.crt", "agent.crt", "agent.key"])
    @pytest.mark.parametrize(
        "data", [b"", b"x", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
    )
    def test_a_damaged_file_is_named(self, own: Path, name: str, data: bytes):
        (own / name).write_bytes(data)

        code, said = refusal(own)
        assert code is Code.FLEET_CERTIFICATE
        assert str(own / name) in said

    def test_a_directory_in_place_of_a_file_is_named(self, own: Path):
        (own / "ca.crt").unlink()
        (own / "ca.crt").mkdir()

        assert refusal(own)[0] is Code.CANNOT_READ

    @pytest.mark.skipif(os.name == "nt", reason="not run: Windows has no such permissions")
    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
    def test_a_key_that_others_may_read_is_refused(self, own: Path, mode: int):
        (own / "agent.key").chmod(mode)

        code, said = refusal(own)
        assert code is Code.FLEET_CERTIFICATE
        assert f"run `chmod 600 {own / 'agent.key'}`" in said
        (own / "agent.key").chmod(0o600)
        assert tls_files(own, "agent")

    def test_an_expired_certificate_is_refused_with_its_date(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        made_at(monkeypatch, tmp_path / "fleet", 31)
        day = certificate(tmp_path / "fleet" / "agent.crt").not_valid_after_utc

        code, said = refusal(tmp_path / "fleet")
        assert code is Code.FLEET_CERTIFICATE
        assert f"agent.crt expired on {day:%Y-%m-%d}" in said
        keygen(tmp_path / "fleet", renew=True)
        assert tls_files(tmp_path / "fleet", "agent")

    def test_a_certificate_that_is_not_valid_yet_is_refused_with_its_date(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        made_at(monkeypatch, tmp_path / "fleet", -2)
        day = certificate(tmp_path / "fleet" / "ca.crt").not_valid_before_utc

        assert f"ca.crt is not valid before {day:%Y-%m-%d %H:%M} UTC" in refusal(tmp_path / "fleet")[1]

    def test_a_certificate_of_another_ca_is_refused(self, own: Path, other_certificates: Path):
        shutil.copy(other_certificates / "ca.crt", own)

        assert f"{own / 'agent.crt'} is not signed by the CA of {own / 'ca.crt'}" in refusal(own)[1]

    def test_a_key_of_another_certificate_is_refused(self, own: Path):
        shutil.copy(own / "client.key", own / "agent.key")

        assert "is not the key of" in refusal(own)[1]


def handshake(server: TlsContexts, client: TlsContexts, data: bytes = b"ping") -> str:
    """Connect; what went wrong on either side, or nothing if a message went there and back."""
    one, other = socket.socketpair()
    troubles: list[str] = []

    def serve() -> None:
        try:
            with server.server.wrap_socket(one, server_side=True) as stream:
                stream.sendall(stream.recv(100))
        except (ssl.SSLError, OSError) as error:
            troubles.append(f"server: {error}")
        finally:
            one.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.client.wrap_socket(other) as stream:
            stream.sendall(data)
            if stream.recv(100) != data:
                troubles.append("client: no answer")
    except (ssl.SSLError, OSError) as error:
        troubles.append(f"client: {error}")
    finally:
        other.close()
        thread.join()
    return "; ".join(troubles)


class TestHandshake:
    @pytest.mark.parametrize("server", ["scheduler", "agent"])
    @pytest.mark.parametrize("client", ROLES)
    def test_members_connect(self, certificates: Path, server: Role, client: Role):
        assert (
            handshake(
                ssl_contexts(tls_files(certificates, server)), ssl_contexts(tls_files(certificates, client))
            )
            == ""
        )

    @pytest.mark.parametrize("server", ["scheduler", "agent"])
    @pytest.mark.parametrize("client", ROLES)
    def test_others_do_not(self, certificates: Path, other_certificates: Path, server: Role, client: Role):
        here, there = (
            ssl_contexts(tls_files(certificates, server)),
            ssl_contexts(tls_files(other_certificates, client)),
        )
        assert "client: " in handshake(here, there)

        there.client.verify_mode = ssl.CERT_NONE  # it takes anybody; the server does not
        assert "server: " in handshake(here, there)

    def test_a_client_cannot_pose_as_an_agent(self, certificates: Path):
        impostor = ssl_contexts(tls_files(certificates, "client"))

        assert "client: " in handshake(impostor, ssl_contexts(tls_files(certificates, "client")))

    def test_expired_certificates_do_not_connect(
        self, certificates: Path, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        """Those of a process that has run on since they expired."""
        then = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=31)
        with monkeypatch.context() as patch:
            patch.setattr(making, "_now", lambda: then)
            keygen(own, days=30, renew=True)
        monkeypatch.setattr("trtpipe.fleet.certificates._certificate", certificate)
        expired = ssl_contexts(tls_files(own, "agent"))

        assert "expired" in handshake(expired, ssl_contexts(tls_files(certificates, "client")))
        assert "expired" in handshake(ssl_contexts(tls_files(certificates, "agent")), expired)

    def test_old_versions_of_tls_are_not_spoken(self, certificates: Path):
        contexts = ssl_contexts(tls_files(certificates, "agent"))

        for one in (contexts.server, contexts.client):
            assert one.minimum_version >= ssl.TLSVersion.TLSv1_2
            assert one.verify_mode is ssl.CERT_REQUIRED


class TestDask:
    def test_work_is_done_for_members_and_nobody_else(self, certificates: Path, other_certificates: Path):
        from distributed import Client, Scheduler, Worker
        from distributed.comm import connect

        async def story() -> None:
            own = {role: dask_security(tls_files(certificates, role)) for role in ROLES}
            quiet = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
            trusting = ssl_contexts(tls_files(other_certificates, "client")).client
            trusting.verify_mode = ssl.CERT_NONE
            async with Scheduler(
                host="127.0.0.1", port=0, protocol="tls", security=own["scheduler"], **quiet
            ) as scheduler:
                address = scheduler.address
                async with Worker(
                    address, host="127.0.0.1", security=own["agent"], nthreads=1, **quiet
                ) as worker:
                    async with Client(
                        address, security=own["client"], asynchronous=True, set_as_default=False
                    ) as client:
                        assert await client.submit(sum, [1, 2], pure=False) == 3
                    for place in (address, worker.address):
                        with pytest.raises(OSError):
                            await connect(place.replace("tls:", "tcp:"), timeout=1)
                        with pytest.raises(OSError):
                            await connect(place, timeout=1, ssl_context=trusting)
                        member = await connect(place, **own["client"].get_connection_args("client"))
                        await member.close()

        asyncio.run(story())

    def test_nothing_is_said_without_tls(self, certificates: Path):
        security = dask_security(tls_files(certificates, "client"))

        assert security.require_encryption
        for part in ("scheduler", "worker", "client"):
            context = security.get_connection_args(part)["ssl_context"]
            assert context.verify_mode is ssl.CERT_REQUIRED
            assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
