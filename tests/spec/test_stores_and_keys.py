"""Where a store may be and whose signatures count: addresses without secrets, keys that nobody can forge."""

from __future__ import annotations

import base64

import pytest
from pydantic import ValidationError

from trtpipe.spec.public_keys import is_small_order, raw_key
from trtpipe.spec.store import IN_PROJECT, StoreSpec
from trtpipe.spec.user import UserSpec

P = 2**255 - 19
KEY = "ed25519:" + base64.b64encode(bytes(range(32))).decode()


def key_of(number: int) -> str:
    return "ed25519:" + base64.b64encode(number.to_bytes(32, "little")).decode()


def refused(model, **values) -> str:
    with pytest.raises(ValidationError) as caught:
        model.model_validate({"schema": 1, **values} if model is UserSpec else values)
    (error,) = caught.value.errors()
    return error["msg"]


@pytest.mark.parametrize(
    "address",
    [
        "s3://bucket/prefix",
        "gs://bucket",
        "az://container/x",
        "https://a.b:8443/store",
        "http://localhost:9000/x",
        "file:///mnt/store",
        "/mnt/store",
        "relative/store",
    ],
)
def test_where_a_shared_store_may_be(address):
    assert StoreSpec.model_validate({"remote": address}).remote == address


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("s3:bucket", "not an address: 's3:bucket'; write s3://BUCKET/PREFIX or a directory"),
        (" ", "not an address: ' '; write s3://BUCKET/PREFIX or a directory"),
        ("a\nb", "not an address: 'a\\nb'; write s3://BUCKET/PREFIX or a directory"),
        ("https://[::1/x", "not an address: 'https://[::1/x'; write s3://BUCKET/PREFIX or a directory"),
        (
            "https://me:word@a.b/x",
            "the address holds a name, a password or a query; remove it: credentials come from the environment",
        ),
        (
            "s3://bucket/x?key=word",
            "the address holds a name, a password or a query; remove it: credentials come from the environment",
        ),
        (
            "s3:///prefix",
            "the address 's3:///prefix' names no bucket or server; write s3://BUCKET/PREFIX or a directory",
        ),
        ("s3://bucket/../x", "not an address: 's3://bucket/../x'; write s3://BUCKET/PREFIX or a directory"),
        (
            "http://a.b/x",
            "plain http can be altered in transit; write https://, or trust signed traces",
        ),
    ],
)
def test_what_is_no_address_of_a_store(address, why):
    said = refused(StoreSpec, remote=address)

    assert said.endswith(why)
    assert "word" not in said.replace("password", "")


def test_plain_http_is_taken_where_results_are_signed():
    assert StoreSpec.model_validate({"remote": "http://a.b/x", "trust": KEY}).trust == (KEY,)
    user = {"schema": 1, "remotes": "http://a.b/x"}
    assert UserSpec.model_validate({**user, "trust": [KEY]}).remotes == ("http://a.b/x",)
    assert "plain http" in refused(UserSpec, remotes="http://a.b/x")


@pytest.mark.parametrize(
    "text",
    ["", "ed25519:", "ed25519:abc", KEY.removeprefix("ed25519:"), KEY[:-4], "ed25519:" + "!" * 44],
)
def test_what_is_no_public_key(text):
    assert raw_key(text) is None
    assert "`trtpipe cache keygen` prints it" in refused(StoreSpec, trust=text)


@pytest.mark.parametrize("sign", [0, 1 << 255])
@pytest.mark.parametrize("y", [0, 1, P - 1, P, P + 1])
def test_a_key_for_which_signatures_can_be_forged_is_refused_in_all_its_forms(y, sign):
    raw = raw_key(key_of(y | sign))

    assert raw is not None and is_small_order(raw)
    assert "signatures can be forged" in refused(StoreSpec, trust=[key_of(y | sign)])


@pytest.mark.parametrize("y", [2, 3, P - 2])
def test_other_keys_are_taken(y):
    assert not is_small_order(y.to_bytes(32, "little"))


def test_a_store_of_the_project_may_be_written_as_a_word():
    assert UserSpec.model_validate({"schema": 1, "store": "project"}).store.path == IN_PROJECT


@pytest.mark.parametrize("path", ["/mnt/store", "~/store", "C:\\store", IN_PROJECT])
def test_a_users_store_has_one_place_for_all_projects(path):
    assert UserSpec.model_validate({"schema": 1, "store": {"path": path}}).store.path == path


@pytest.mark.parametrize(
    "values", [{"store": {"path": "store"}}, {"store": {"shared": ["store"]}}, {"remotes": ["store"]}]
)
def test_a_users_directory_is_absolute(values):
    assert refused(UserSpec, **values).endswith(
        "'store' is relative and would be another directory in each project; write an absolute path"
    )
