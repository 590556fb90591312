"""Signed packages: what a key proves, and what is said of a foreign one, of none, and without the library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.packages.small_packages import contents, engine, index, model
from trtpipe.errors import PackageError, SpecError
from trtpipe.packages.archive import write_archive
from trtpipe.packages.directory import write_directory
from trtpipe.packages.signatures import signer, verify_signature
from trtpipe.packages.unpacking import unpack, verify_package
from trtpipe.problem_codes import Code

WRITERS = {"dir": write_directory, "tar": write_archive}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with key pairs: `mine`, `other`, an RSA one, and one with a password."""
    pytest.importorskip("model_signing", reason="not run: needs the extra sign")
    from cryptography.hazmat.primitives import serialization as forms
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    folder = tmp_path_factory.mktemp("keys")
    curve = ec.SECP256R1()
    plain = forms.NoEncryption()
    locked = forms.BestAvailableEncryption(b"secret")
    for name, key, lock in (
        ("mine", ec.generate_private_key(curve), plain),
        ("other", ec.generate_private_key(curve), plain),
        ("locked", ec.generate_private_key(curve), locked),
        ("rsa", rsa.generate_private_key(65537, 2048), plain),
    ):
        secret = key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, lock)
        public = key.public_key().public_bytes(forms.Encoding.PEM, forms.PublicFormat.SubjectPublicKeyInfo)
        (folder / f"{name}.key").write_bytes(secret)
        (folder / f"{name}.pub").write_bytes(public)
    return folder


@pytest.fixture(params=WRITERS)
def signed(request, keys, tmp_path) -> Path:
    WRITERS[request.param](contents(), tmp_path / "p", sign=signer(keys / "mine.key"))
    return tmp_path / "p"


def refused(package: Path, key: Path) -> str:
    with pytest.raises(PackageError) as caught:
        verify_package(package, key)
    (problem,) = caught.value.problems
    assert problem.code == Code.NOT_SIGNED and "\n" not in str(problem)
    return str(problem)


def test_the_owner_s_key_proves_a_package(signed, keys):
    found = verify_package(signed, keys / "mine.pub")

    assert found.signed and found.index == index()
    assert verify_package(signed).signed, "a package can be verified without its key"


def test_a_foreign_signature_is_refused(signed, keys):
    assert f"is not one that '{keys / 'other.pub'}' proves for these files" in refused(
        signed, keys / "other.pub"
    )


@pytest.mark.parametrize("form", WRITERS)
def test_a_package_without_a_signature_is_refused_where_a_key_is_required(tmp_path, keys, form):
    WRITERS[form](contents(), tmp_path / "p")

    assert "has no signature, and --key requires one" in refused(tmp_path / "p", keys / "mine.pub")


def test_the_signature_of_another_package_is_refused(tmp_path, keys):
    """Its files are those of its index; the signature is good, for others."""
    write_directory(contents(), tmp_path / "p")
    other = index(model("net", [engine("net/fp32@ada")]))
    write_directory(contents(other), tmp_path / "q", sign=signer(keys / "mine.key"))
    (tmp_path / "q/model.sig").rename(tmp_path / "p/model.sig")

    assert "proves for these files" in refused(tmp_path / "p", keys / "mine.pub")


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"\xff", b'{"mediaType": 1, "dsseEnvelope": {}}'])
def test_what_is_no_signature_is_refused(tmp_path, keys, text):
    write_directory(contents(), tmp_path / "p")
    (tmp_path / "p/model.sig").write_bytes(text)

    refused(tmp_path / "p", keys / "mine.pub")


def test_a_changed_file_is_refused_before_the_signature_is_looked_at(tmp_path, keys):
    write_directory(contents(), tmp_path / "p", sign=signer(keys / "mine.key"))
    (tmp_path / "p/models/net/fp16/model.onnx").write_bytes(b"other")

    with pytest.raises(PackageError) as caught:
        verify_package(tmp_path / "p", keys / "mine.pub")
    assert caught.value.problems[0].code == Code.PACKAGE_DAMAGED


def test_a_foreign_archive_is_not_unpacked(tmp_path, keys):
    write_archive(contents(), tmp_path / "p.tar", sign=signer(keys / "mine.key"))

    with pytest.raises(PackageError):
        unpack(tmp_path / "p.tar", tmp_path / "out", keys / "other.pub")
    assert [one.name for one in tmp_path.iterdir()] == ["p.tar"]
    unpack(tmp_path / "p.tar", tmp_path / "out", keys / "mine.pub")
    verify_package(tmp_path / "out", keys / "mine.pub")


def test_signing_changes_no_other_byte(tmp_path, keys):
    write_directory(contents(), tmp_path / "p")
    write_directory(contents(), tmp_path / "q", sign=signer(keys / "mine.key"))

    (tmp_path / "q/model.sig").unlink()

    assert subprocess.run(["diff", "-r", tmp_path / "p", tmp_path / "q"], check=False).returncode == 0


def test_the_command_of_model_signing_proves_it_too(tmp_path, keys):
    """So that whoever has no trtpipe can verify a package."""
    package = tmp_path / "p"
    write_directory(contents(), package, sign=signer(keys / "mine.key"))
    command = [sys.executable, "-m", "model_signing", "verify", "key", str(package), "--no-ignore-git-paths"]
    command += [
        "--signature",
        f"{package}/model.sig",
        "--ignore-paths",
        f"{package}/model.sig",
        "--public_key",
    ]

    good, bad = (
        subprocess.run([*command, str(keys / name)], check=False, capture_output=True).returncode
        for name in ("mine.pub", "other.pub")
    )

    assert good == 0 and bad != 0


@pytest.mark.parametrize("name", ["rsa.key", "mine.pub", "locked.key"])
def test_a_key_that_cannot_sign_is_said_to_be_none(keys, name):
    with pytest.raises(SpecError, match="is no private key of an elliptic curve"):
        signer(keys / name)


@pytest.mark.parametrize("name", ["rsa.pub", "mine.key"])
def test_a_key_that_cannot_prove_is_said_to_be_none(keys, tmp_path, name):
    with pytest.raises(SpecError, match="is no public key of an elliptic curve"):
        verify_signature(tmp_path, keys / name, "p")


def test_a_key_that_is_not_there_is_named(keys, tmp_path):
    for use in (signer, lambda key: verify_signature(tmp_path, key, "p")):
        with pytest.raises(SpecError, match=r"cannot read key '.*nowhere': no such file"):
            use(keys / "nowhere")


def test_without_the_library_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "model_signing", None)

    for use in (signer, lambda key: verify_signature(tmp_path, key, "p")):
        with pytest.raises(SpecError) as caught:
            use(tmp_path / "key.pem")
        (problem,) = caught.value.problems
        assert (problem.code, problem.remedy) == (
            Code.MISSING_PACKAGE,
            "install it: pip install 'trtpipe[sign]'",
        )
