"""CI systems leave the variable of a secret that is not there empty: it counts as one that is not set."""

from __future__ import annotations

import os

import pytest

from tests.stores.places import needs
from trtpipe.stores.buckets import Unusable


@needs("obstore")
def test_an_empty_variable_for_access_is_as_if_it_were_not_set(monkeypatch):
    from trtpipe.stores.buckets.objects import ObjectBucket

    for name, value in {
        "AWS_ENDPOINT_URL": "",
        "AWS_SESSION_TOKEN": "",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "HTTPS_PROXY": "http://127.0.0.1:9",  # nothing listens there, so that no server is asked
    }.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(Unusable, match="connection"):
        ObjectBucket("s3://bucket/prefix", 1.0).has("v1/traces/ab")

    assert "AWS_ENDPOINT_URL" not in os.environ and "AWS_SESSION_TOKEN" not in os.environ
    assert os.environ["AWS_REGION"] == "us-east-1"
