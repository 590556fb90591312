"""Addresses of remote files in a spec: what each kind takes, what is refused, and what to write instead."""

from __future__ import annotations

import pytest

from trtpipe.errors import SpecError
from trtpipe.loader.remotes import EXAMPLES, misplaced_pins, remote_file, unfetchable
from trtpipe.problem_codes import Code
from trtpipe.spec.fields import PinnedText

PIN = "4c3f" * 16
FORM = {scheme: f"for example {example}" for scheme, example in EXAMPLES.items()}


@pytest.mark.parametrize("scheme", EXAMPLES)
def test_the_example_of_each_kind_is_an_address(scheme):
    file = remote_file(EXAMPLES[scheme], PIN.upper())

    assert file.url == EXAMPLES[scheme]
    assert file.sha256 == PIN


@pytest.mark.parametrize(
    ("text", "url"),
    [
        (
            "HTTPS://example.com:8443/a b%20c.onnx".replace(" ", "%20"),
            "https://example.com:8443/a%20b%20c.onnx",
        ),
        ("https://[::1]:80/ä.onnx?v=ü", "https://[::1]:80/%C3%A4.onnx?v=%C3%BC"),
        ("s3://bucket/a key.onnx", "s3://bucket/a key.onnx"),
        ("hf://org/repo/net.onnx", "hf://org/repo/net.onnx"),
        ("hf://org/repo@refs%2Fpr%2F1/net.onnx", "hf://org/repo@refs%2Fpr%2F1/net.onnx"),
    ],
)
def test_what_an_address_may_hold(text, url):
    assert remote_file(text).url == url


REFUSED = [
    ("https://a.b/x\ny", "it contains control characters, or is too long", FORM["https"]),
    ("https://a.b/" + "x" * 4000, "it contains control characters, or is too long", FORM["https"]),
    ("https://a.b/my net.onnx", "it contains a blank", "write %20 for it"),
    (
        "https://a.b/net.onnx#v2",
        "it holds a '#'",
        "leave out everything from '#' on, or write %23 for a '#' in a name",
    ),
    (
        "https://me:secret@a.b/net.onnx",
        "it contains a user name or password",
        "remove it; credentials of s3://, gs:// and hf:// come from the environment",
    ),
    ("https:///net.onnx", "it has no host", FORM["https"]),
    ("https://a_b!/net.onnx", "'a_b!' is not a host", FORM["https"]),
    ("https://a.b:65536/net.onnx", "'a.b:65536' is not a host", FORM["https"]),
    ("https://a.b", "it names no file", FORM["https"]),
    ("https://a.b/models/", "it names no file", FORM["https"]),
    (
        "https://a.b/%2e%2e/net.onnx",
        "its path contains an empty part, '.', '..' or a backslash",
        FORM["https"],
    ),
    ("https://a.b/x%5Cnet.onnx", "its path contains an empty part, '.', '..' or a backslash", FORM["https"]),
    (
        "http://a.b/net.onnx",
        "plain http can be altered in transit",
        "write https://, or pin the file: sha256: 4c3f…",
    ),
    ("http://a.b/net.onnx?token=x", "its credential could be read in transit", "write https://"),
    (
        "s3://key:secret@bucket/net.onnx",
        "it contains a key or a password",
        "remove it: credentials come from the environment, as for other tools",
    ),
    ("s3:///net.onnx", "it has no bucket", FORM["s3"]),
    ("gs://b/net.onnx", "'b' is not a bucket", FORM["gs"]),
    (
        "s3://bucket/net.onnx?v=1",
        "an object's name with '?' or '#' cannot be distinguished from a query",
        FORM["s3"],
    ),
    ("gs://bucket//net.onnx", "its path contains an empty part, '.', '..' or a backslash", FORM["gs"]),
    (
        "hf://me@org/repo/net.onnx",
        "it contains a user name or password",
        "remove it: the token comes from $HF_TOKEN",
    ),
    ("hf://org", "it does not begin with ORG/REPO", FORM["hf"]),
    ("hf://org/re..po/net.onnx", "it does not begin with ORG/REPO", FORM["hf"]),
    (
        "hf://org/repo@a..b/net.onnx",
        "'a..b' is not a revision",
        "a commit, a tag or a branch; write %2F for a '/' in its name",
    ),
    (
        "hf://org/repo@/net.onnx",
        "'' is not a revision",
        "a commit, a tag or a branch; write %2F for a '/' in its name",
    ),
    (
        "hf://org/repo/net.onnx#x",
        "a file's name with '?' or '#' cannot be distinguished from a query",
        FORM["hf"],
    ),
    ("hf://org/repo@main", "it names no file", FORM["hf"]),
]


@pytest.mark.parametrize(("text", "why", "remedy"), REFUSED, ids=[one[0][:30] for one in REFUSED])
def test_what_cannot_be_fetched_is_told_without_its_secrets(text, why, remedy):
    with pytest.raises(SpecError) as caught:
        remote_file(text, path=("model", "source"))

    (problem,) = caught.value.problems
    assert problem.code == Code.BAD_ADDRESS
    assert problem.fact.startswith("not an address that can be fetched: ")
    assert problem.fact.endswith(f": {why}")
    assert (problem.remedy, problem.path) == (remedy, ("model", "source"))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["http://a.b/net.onnx", "http://localhost:80/net.onnx?token=x"])
def test_plain_http_is_taken_where_it_cannot_do_harm(text):
    assert remote_file(text, PIN).scheme == "http"


def test_addresses_are_sorted_into_files_and_problems():
    files = {}
    named = [
        (("a",), PinnedText("https://a.b/net.onnx", PIN)),
        (("b",), "models/net.onnx"),
        (("c",), "s3://b/net.onnx"),
        (("d",), 7),
        (("e",), "https://a.b/other.onnx"),
    ]

    problems = list(unfetchable(named, files))

    assert {path: (one.url, one.sha256) for path, one in files.items()} == {
        ("a",): ("https://a.b/net.onnx", PIN),
        ("e",): ("https://a.b/other.onnx", ""),
    }
    assert [one.path for one in problems] == [("c",)]


REMOTE = {"source": "https://a.b/net.onnx"}
LEAVE_OUT = "'files' pins data files of a remote ONNX model, but this model is not one"


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (None, []),
        ({}, []),
        ({"files": {}}, []),
        ({"files": "text"}, []),
        ({**REMOTE, "files": {"net.data": PIN}}, []),
        ({**REMOTE, "parser": "onnx", "files": {"w/net.data": PIN}}, []),
        (
            {**REMOTE, "files": {"../net.data": PIN, 7: PIN}},
            [
                (("model", "files", "../net.data"), "'../net.data' is not a plain relative name"),
                (("model", "files", 7), "'7' is not a plain relative name"),
            ],
        ),
        ({"source": "net.onnx", "files": {"net.data": PIN}}, [(("model", "files"), LEAVE_OUT)]),
        ({**REMOTE, "parser": "caffe", "files": {"net.data": PIN}}, [(("model", "files"), LEAVE_OUT)]),
    ],
)
def test_pins_of_files_beside_a_model_go_with_remote_onnx_alone(model, told):
    problems = list(misplaced_pins(model, "onnx"))

    assert [(one.path, one.fact) for one in problems] == told
    assert {one.code for one in problems} <= {Code.MISPLACED_PIN}
