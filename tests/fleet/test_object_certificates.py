"""With certificates an agent and its clients talk to each other, and neither to anybody else."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet import agents
from tests.fleet.agents import Agent, add, line, some
from trtpipe.errors import StoreError
from trtpipe.fleet import object_client
from trtpipe.fleet.certificates import Role, ssl_contexts, tls_files
from trtpipe.problem_codes import Code
from trtpipe.stores.local import LocalStore


def client_context(folder: Path, role: Role = "client") -> ssl.SSLContext:
    return ssl_contexts(tls_files(folder, role)).client


@pytest.fixture
def agent(tmp_path: Path, certificates: Path) -> Iterator[Agent]:
    context = ssl_contexts(tls_files(certificates, "agent")).server
    with agents.agent(tmp_path / "agent", token=None, context=context) as made:
        yield made


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "client")


def refused(agent: Agent, context: ssl.SSLContext | None, store: LocalStore) -> tuple[Code, str]:
    digest = add(store, b"right")
    with pytest.raises(StoreError) as caught:
        agent.peer(context=context).send(digest, store)
    assert not agent.store.has(digest)
    (problem,) = caught.value.problems
    assert agent.address in problem.fact
    return problem.code, problem.fact


@pytest.mark.parametrize("role", ["client", "agent", "scheduler"])
def test_members_of_a_fleet_exchange_artifacts(
    agent: Agent, store: LocalStore, certificates: Path, tmp_path: Path, role: Role
):
    digest = add(store, some(3_000_000))
    peer = agent.peer(context=client_context(certificates, role))
    other = LocalStore(tmp_path / "other")

    assert peer.missing([digest]) == {digest}
    peer.send(digest, store)
    peer.receive(digest, other)

    assert other.path(digest)


def test_a_transfer_goes_on_where_the_connection_broke(agent: Agent, store: LocalStore, certificates: Path):
    size = 20 << 20
    digest = add(store, some(size))

    with line(agent.port, ("up", 8 << 20)) as way:
        agent.peer(way.port, context=client_context(certificates)).send(digest, store)

    assert agent.store.path(digest)
    assert way.cuts == []
    assert way.carried["up"] < size + (7 << 20)


def test_a_client_without_a_certificate_is_refused(agent: Agent, store: LocalStore, certificates: Path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(certificates / "ca.crt")

    code, fact = refused(agent, context, store)

    assert code is Code.AGENT_REFUSED
    assert "it refused this client's certificate" in fact


def test_a_client_of_another_fleet_that_asks_no_questions_is_refused(
    agent: Agent, store: LocalStore, other_certificates: Path
):
    context = client_context(other_certificates)
    context.verify_mode = ssl.CERT_NONE

    code, fact = refused(agent, context, store)

    assert code is Code.AGENT_REFUSED
    assert "it refused this client's certificate" in fact


def reset(connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
    raise ConnectionResetError


def test_the_reason_is_asked_for_again_where_a_reset_swallowed_it(
    agent: Agent, store: LocalStore, other_certificates: Path, monkeypatch: pytest.MonkeyPatch
):
    context = client_context(other_certificates)
    context.verify_mode = ssl.CERT_NONE
    monkeypatch.setattr(http.client.HTTPSConnection, "getresponse", reset)

    assert refused(agent, context, store)[0] is Code.AGENT_REFUSED


def test_an_agent_that_resets_a_member_of_its_fleet_is_unreachable(
    agent: Agent, store: LocalStore, certificates: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(http.client.HTTPSConnection, "getresponse", reset)
    monkeypatch.setattr(object_client, "_LISTEN_SECONDS", 0.1)

    assert refused(agent, client_context(certificates), store)[0] is Code.AGENT_UNREACHABLE


def test_a_client_refuses_an_agent_of_another_fleet(
    agent: Agent, store: LocalStore, other_certificates: Path
):
    code, fact = refused(agent, client_context(other_certificates), store)

    assert code is Code.AGENT_REFUSED
    assert "its certificate is not valid" in fact


def test_a_client_refuses_an_agent_with_the_certificate_of_a_client(
    tmp_path: Path, store: LocalStore, certificates: Path
):
    context = ssl_contexts(tls_files(certificates, "client")).server
    with agents.agent(tmp_path / "agent", token=None, context=context) as impostor:
        code, fact = refused(impostor, client_context(certificates), store)

    assert code is Code.AGENT_REFUSED
    assert "its certificate is not valid" in fact


def test_without_tls_nothing_is_said_to_an_agent_with_it(agent: Agent, store: LocalStore):
    assert refused(agent, None, store)[0] is Code.AGENT_UNREACHABLE


def test_with_tls_nothing_is_said_to_an_agent_without_it(
    tmp_path: Path, store: LocalStore, certificates: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(object_client, "_CONNECT_SECONDS", 0.5)
    with agents.agent(tmp_path / "agent") as plain:
        assert refused(plain, client_context(certificates), store)[0] in (
            Code.AGENT_REFUSED,
            Code.AGENT_UNREACHABLE,
        )


def test_a_token_is_asked_for_besides_a_certificate(tmp_path: Path, store: LocalStore, certificates: Path):
    contexts = ssl_contexts(tls_files(certificates, "agent"))
    with agents.agent(tmp_path / "agent", token="another", context=contexts.server) as strict:
        assert refused(strict, client_context(certificates), store)[0] is Code.AGENT_REFUSED


def test_a_server_that_asks_for_no_certificate_is_a_bug(tmp_path: Path, certificates: Path):
    context = ssl_contexts(tls_files(certificates, "agent")).server
    context.verify_mode = ssl.CERT_NONE

    with pytest.raises(AssertionError), agents.agent(tmp_path / "agent", token=None, context=context):
        pass
