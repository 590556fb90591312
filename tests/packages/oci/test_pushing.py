"""Pushing to a real registry on loopback, and reading back with skopeo."""

from __future__ import annotations

import base64
import json
import socket
import threading
import tracemalloc
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import pytest

from tests.packages.made_packages import contents, engine, model
from tests.packages.oci.registry_in_memory import registry_in_memory
from tests.packages.oci.registry_process import running_registry, skopeo
from trtpipe.errors import PackageError, SpecError
from trtpipe.packages.contents import packed_file
from trtpipe.packages.oci.image import image_of
from trtpipe.packages.oci.layout import blobs_of, write_layout
from trtpipe.packages.oci.push import push_image
from trtpipe.packages.oci.reader import read_package_index
from trtpipe.packages.oci.reference import parse_reference

pytest.importorskip("oras", reason="not run: needs the extra oci")

ADA, AMPERE = engine("net/fp16@ada"), engine("net/fp16@ampere", "8.6")
PACKAGE = contents(model("net", ADA, AMPERE, fallback=b""), model_onnx=b"typed" * 1000)
USER = "ada:$2b$05$abcdefghijklmnopqrstuuugyJgZetmHGvxwCJ1rpgM8bgT8KJ8.i\n"
"""A line of an htpasswd file, with the password `lovelace`; the registry reads bcrypt alone, which Python has not."""


@pytest.fixture(autouse=True)
def home_of_nobody(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)


@pytest.fixture
def registry(tmp_path):
    (tmp_path / "registry").mkdir()
    with running_registry(tmp_path / "registry") as found:
        yield found


def pushed(host, package=PACKAGE, name="team/net:1", insecure=False):
    from trtpipe.packages.oci.registry import Registry

    registry = Registry(parse_reference(f"{host}/{name}", insecure=insecure), wait=lambda seconds: None)
    told = []
    try:
        image = image_of(package.index, {})
        return image, push_image(image, package.sources, registry, told.append), told
    finally:
        registry.close()


def raw(host, name="team/net:1"):
    return json.loads(skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{host}/{name}"))


def test_a_pushed_image_is_read_back_as_it_was(registry):
    image, done, _ = pushed(registry.host)

    assert raw(registry.host) == json.loads(image.top.content)
    for one in image.manifests:
        assert raw(registry.host, f"team/net@{one.descriptor.digest}") == json.loads(one.content)
    assert done.digest == image.top.descriptor.digest


def test_every_blob_is_there(registry):
    image, done, _ = pushed(registry.host)

    files = {one.sha256 for one in PACKAGE.index.files.values()}
    manifests = {one.descriptor.sha256 for one in (*image.manifests, image.top)}
    assert files | manifests <= registry.blobs
    assert (done.present, done.sent) == (0, len(files) + len(image.configs) + 1)


def test_what_is_there_is_not_sent_again(registry):
    pushed(registry.host)

    _, again, told = pushed(registry.host, name="team/net:2")

    assert (again.sent, again.sent_bytes, told) == (0, 0, [])
    assert raw(registry.host, "team/net:2") == raw(registry.host, "team/net:1")


def test_a_changed_engine_is_all_that_is_sent(registry):
    pushed(registry.host)
    changed = contents(
        model("net", ADA, AMPERE, fallback=b""), model_onnx=b"typed" * 1000, provenance_json=b"other"
    )

    _, again, _ = pushed(registry.host, changed)

    assert again.sent == 2  # the provenance of both cells, which is one blob here, and the package's index


def test_an_interrupted_push_goes_on_where_it_stopped(registry, monkeypatch):
    from trtpipe.packages.oci.registry import Registry

    put, sent = Registry.put_blob, []

    def breaking(self, descriptor, body):
        if len(sent) == 3:
            raise KeyboardInterrupt
        sent.append(descriptor.sha256)
        put(self, descriptor, body)

    with monkeypatch.context() as patch:
        patch.setattr(Registry, "put_blob", breaking)
        with pytest.raises(KeyboardInterrupt):
            pushed(registry.host)
    missing = skopeo_says_no(registry.host)
    _, done, _ = pushed(registry.host)

    assert missing, "the tag must not be there before everything is"
    assert done.present == 3


def skopeo_says_no(host):
    try:
        raw(host)
    except AssertionError:
        return True
    return False


def test_referrers_are_listed_under_tags_where_the_registry_has_no_api_for_them(registry):
    image, done, _ = pushed(registry.host)

    assert done.referrers_tag
    subject = next(
        one for one in image.manifests if one.descriptor.annotations.get("trtpipe.cell") == ADA.cell
    )
    listed = raw(registry.host, f"team/net:sha256-{subject.descriptor.sha256}")
    kinds = [one["artifactType"] for one in listed["manifests"]]
    assert kinds == ["application/vnd.in-toto+json", "application/vnd.cyclonedx+json"]
    for one in listed["manifests"]:
        found = raw(registry.host, f"team/net@{one['digest']}")
        assert found["subject"]["digest"] == subject.descriptor.digest


def test_referrers_of_others_stay_listed(registry):
    image, _, _ = pushed(registry.host)
    subject = image.manifests[0].descriptor.sha256
    before = raw(registry.host, f"team/net:sha256-{subject}")
    changed = {
        "schemaVersion": 2,
        "mediaType": before["mediaType"],
        "manifests": before["manifests"][:1],
    }
    from trtpipe.packages.oci.documents import document
    from trtpipe.packages.oci.reader import IMAGE_INDEX
    from trtpipe.packages.oci.registry import Registry

    client = Registry(parse_reference(f"{registry.host}/team/net:1", insecure=False))
    client.put_manifest(document(changed, IMAGE_INDEX), f"sha256-{subject}")
    client.close()

    pushed(registry.host)

    assert raw(registry.host, f"team/net:sha256-{subject}") == before


def test_skopeo_copies_the_whole_image_to_another_place(registry, tmp_path):
    image, _, _ = pushed(registry.host)
    place = f"oci:{tmp_path / 'copy'}:net"

    skopeo("copy", "--all", "--src-tls-verify=false", f"docker://{registry.host}/team/net:1", place)

    # an old skopeo writes the image index anew, without what it does not know
    copied = {path.name for path in (tmp_path / "copy/blobs/sha256").iterdir()}
    assert {one.descriptor.sha256 for one in image.manifests} <= copied
    assert {PACKAGE.index.files[one.file].sha256 for one in (ADA, AMPERE)} <= copied
    assert read_package_index(tmp_path / "copy") == PACKAGE.index


def test_skopeo_pushes_a_layout_that_we_wrote(registry, tmp_path):
    image = image_of(PACKAGE.index, {})
    write_layout(image, PACKAGE.sources, "net", tmp_path / "image")

    skopeo(
        "copy", "--all", "--dest-tls-verify=false", f"oci:{tmp_path / 'image'}:net",
        f"docker://{registry.host}/team/copied:1",
    )  # fmt: skip

    copied = raw(registry.host, "team/copied:1")
    assert [one["digest"] for one in copied["manifests"]] == [
        one.descriptor.digest for one in image.manifests
    ]


# -- who may push, and how


@pytest.fixture
def guarded(tmp_path):
    (tmp_path / "guarded").mkdir()
    with running_registry(tmp_path / "guarded", users=USER) as found:
        yield found


def log_in(folder, host, user, password):
    folder.mkdir(parents=True)
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {host: {"auth": token}}}))


def test_without_a_login_the_command_to_log_in_is_named(guarded):
    with pytest.raises(PackageError) as caught:
        pushed(guarded.host)

    (problem,) = caught.value.problems
    assert problem.fact == f"{guarded.host} does not let you look for a blob in team/net"
    assert problem.remedy == f"log in: docker login {guarded.host}"


@pytest.mark.parametrize("variable", [False, True])
def test_the_users_docker_configuration_logs_in(guarded, tmp_path, monkeypatch, variable):
    folder = tmp_path / "docker" if variable else tmp_path / "home/.docker"
    log_in(folder, guarded.host, "ada", "lovelace")
    if variable:
        monkeypatch.setenv("DOCKER_CONFIG", str(folder))

    image, _, _ = pushed(guarded.host)

    assert image.top.descriptor.sha256 in guarded.blobs


def test_a_wrong_password_is_refused(guarded, tmp_path):
    log_in(tmp_path / "home/.docker", guarded.host, "ada", "byron")

    with pytest.raises(PackageError, match="does not let you"):
        pushed(guarded.host)


def test_a_damaged_docker_configuration_is_told(registry, tmp_path):
    (tmp_path / "home/.docker").mkdir(parents=True)
    (tmp_path / "home/.docker/config.json").write_text("{")

    with pytest.raises(PackageError, match="your Docker configuration cannot be read"):
        pushed(registry.host)


def test_nobody_answers(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{probe.getsockname()[1]}"

    with pytest.raises(PackageError) as caught:
        pushed(host)

    assert [one.fact for one in caught.value.problems] == [
        f"cannot push to {host}/team/net:1: connection refused"
    ]


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("127.0.0.1:5000/net:1", True),
        ("localhost:5000/a/b:tag", True),
        ("[::1]:5000/net:1", True),
        ("registry.example.com/team/net:2024.1", False),
        ("10.0.0.7:5000/net:1", False),
    ],
)
def test_only_loopback_is_reached_without_encryption(text, plain):
    assert parse_reference(text, insecure=False).plain is plain
    assert parse_reference(text, insecure=True).plain is True
    assert str(parse_reference(text, insecure=False)) == text


@pytest.mark.parametrize(
    "text",
    ["net:1", "team/net:1", "registry.example.com/net", "registry.example.com/Net:1", "https://a.b/net:1", "a.b/n:t/x",
     "user@a.b/net:1", "a.b/../net:1", "a.b/net:-1", "a.b/net@sha256:00", ""],
)  # fmt: skip
def test_what_is_no_reference_is_refused(text):
    with pytest.raises(SpecError, match="names no tag of a repository"):
        parse_reference(text, insecure=False)


# -- registries as others run them


def test_tokens_are_asked_for_as_the_registry_says(tmp_path):
    """A token to look is none to write: each is good for what it was asked for."""
    with registry_in_memory(password="ada:lovelace") as memory:
        log_in(tmp_path / "home/.docker", memory.host, "ada", "lovelace")

        image, _, _ = pushed(memory.host)

    assert memory.tokens[:2] == ["repository:team/net:pull", "repository:team/net:pull,push"]
    assert len(memory.tokens) == 2
    assert memory.manifests["1"] == image.top.content


def test_a_token_for_nobody_in_particular_is_enough_where_it_is():
    with registry_in_memory() as memory:
        image, _, _ = pushed(memory.host)

    assert memory.manifests["1"] == image.top.content


def test_a_token_that_needs_a_login_is_told():
    with registry_in_memory(password="ada:lovelace") as memory, pytest.raises(PackageError) as caught:
        pushed(memory.host)

    assert caught.value.problems[0].remedy == f"log in: docker login {memory.host}"


def test_a_registry_that_lists_referrers_gets_no_tags_for_them():
    with registry_in_memory(password="open") as memory:
        _, done, _ = pushed(memory.host)

    assert not done.referrers_tag
    assert [tag for tag in memory.manifests if not tag.startswith("sha256:")] == ["1"]


def test_the_tag_comes_last():
    with registry_in_memory(password="open", lists_referrers=False) as memory:
        pushed(memory.host)

    assert list(memory.manifests)[-1] == "1"


def test_memory_does_not_depend_on_the_size_of_an_engine(tmp_path):
    size = 96 << 20
    large = tmp_path / "large.engine"
    with large.open("wb") as file:
        file.truncate(size)
    plain = contents(model("net", ADA))
    files = {**plain.index.files, ADA.file: packed_file(large)}
    package = replace(
        plain, index=replace(plain.index, files=files), sources={**plain.sources, ADA.file: large}
    )
    with registry_in_memory(password="open") as memory:
        tracemalloc.start()
        try:
            pushed(memory.host, package)
            write_layout(image_of(package.index, {}), package.sources, "net", tmp_path / "image")
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert memory.blobs[f"sha256:{files[ADA.file].sha256}"] == size
    assert most < size / 6


# -- registries that must not be believed


class Answers(BaseHTTPRequestHandler):
    """Answers as the test says; `seen` are the requests with their authorization."""

    protocol_version = "HTTP/1.1"
    answers: ClassVar[dict] = {}
    seen: ClassVar[list] = []

    def reply(self):
        self.seen.append((self.command, self.path, self.headers.get("Authorization")))
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        code, headers = self.answers.get(self.command, (404, {}))
        self.send_response(code)
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    do_GET = do_HEAD = do_POST = do_PUT = reply  # noqa: N815 - as the module has them

    def log_message(self, *args):
        pass


@pytest.fixture
def odd(tmp_path):
    """A function that starts a registry with these answers."""
    servers = []

    def start(**answers):
        handler = type("Own", (Answers,), {"answers": answers, "seen": []})
        server = HTTPServer(("127.0.0.1", 0), handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        servers.append((server, thread))
        return f"127.0.0.1:{server.server_port}", handler

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


def test_credentials_are_not_sent_in_the_clear_to_where_a_registry_says(odd, tmp_path):
    challenge = 'Bearer realm="http://example.com/token",service="x"'
    host, handler = odd(HEAD=(401, {"WWW-Authenticate": challenge}))
    log_in(tmp_path / "home/.docker", host, "ada", "lovelace")

    with pytest.raises(
        PackageError, match=r"asks for credentials at http://example\.com/token, which is not"
    ):
        pushed(host)

    assert {authorization for *_, authorization in handler.seen} == {None}


def test_data_is_not_sent_in_the_clear_to_another_host(odd):
    host, _ = odd(HEAD=(404, {}), POST=(202, {"Location": "http://example.com/upload"}))

    with pytest.raises(
        PackageError, match=r"wants the data at http://example\.com/upload, which is not encrypted"
    ):
        pushed(host)


def test_a_credential_goes_to_the_registry_alone(odd, tmp_path):
    other, elsewhere = odd(PUT=(201, {}))
    challenge = 'Basic realm="x"'
    host, handler = odd(
        HEAD=(404, {}),
        POST=(202, {"Location": f"http://{other}/upload"}),
        PUT=(401, {"WWW-Authenticate": challenge}),
    )
    log_in(tmp_path / "home/.docker", host, "ada", "lovelace")

    with pytest.raises(PackageError):  # it takes no manifests
        pushed(host)

    assert {authorization for *_, authorization in elsewhere.seen} == {None}
    assert any(authorization for *_, authorization in handler.seen)


def test_a_busy_registry_is_asked_again(odd):
    host, handler = odd(HEAD=(503, {}))

    with pytest.raises(PackageError, match="did not look for a blob: 503"):
        pushed(host)

    assert len(handler.seen) == 4


def test_a_blob_that_is_kept_elsewhere_is_there(odd):
    """Registries answer with the address of their storage, once they know that they have the blob."""
    elsewhere = (307, {"Location": "http://example.com/storage"})
    host, handler = odd(HEAD=elsewhere, PUT=(201, {"OCI-Subject": "x"}))

    image, done, _ = pushed(host)

    assert (done.sent, done.present) == (0, len([*blobs_of(image, PACKAGE.sources)]))
    assert {command for command, *_ in handler.seen} == {"HEAD", "PUT"}


def test_a_redirect_is_not_followed(odd):
    host, handler = odd(POST=(307, {"Location": "http://example.com/"}))

    with pytest.raises(PackageError, match="did not begin a blob: 307"):
        pushed(host)

    assert [command for command, *_ in handler.seen] == ["HEAD", "POST"]
