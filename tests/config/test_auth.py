"""Credentials of HTTP."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from logflow.config.auth import HttpAuth


def test_basic_and_bearer_headers_are_as_the_rfcs_say():
    basic = HttpAuth(username="Aladdin", password="open sesame")
    assert basic.header() == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="  # RFC 7617, section 2
    assert HttpAuth(bearer="token").header() == "Bearer token"


def test_only_the_right_header_is_accepted():
    auth = HttpAuth(bearer="token")
    assert auth.accepts("Bearer token")
    assert auth.accepts("bearer token")
    for wrong in ("", "Bearer", "Bearer tokem", "Basic token", "Bearer tøken", "Bearer token x"):
        assert not auth.accepts(wrong)


@pytest.mark.parametrize(
    "options",
    [{}, {"username": "u"}, {"password": "p"}, {"username": "u", "password": "p", "bearer": "t"},
     {"username": "a:b", "password": "p"}, {"bearer": "a\r\nX: y"}],
)  # fmt: skip
def test_anything_but_one_kind_is_refused(options):
    with pytest.raises(ValidationError):
        HttpAuth(**options)


def test_secrets_are_not_shown():
    assert "hunter2" not in repr(HttpAuth(username="u", password="hunter2"))
