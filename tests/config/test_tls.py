"""TLS options."""

from __future__ import annotations

import ssl

import pytest
from pydantic import ValidationError

from logflow.config.tls import ClientTls, ServerTls
from logflow.errors import ComponentError


def test_a_client_verifies_unless_told_otherwise():
    assert ClientTls().context().verify_mode == ssl.CERT_REQUIRED
    assert ClientTls().context().check_hostname
    assert ClientTls(verify=False).context().verify_mode == ssl.CERT_NONE


def test_a_certificate_needs_its_key():
    with pytest.raises(ValidationError, match="go together"):
        ClientTls(cert_file="cert.pem")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ComponentError, match=r"missing\.pem.*No such file"):
        ServerTls(cert_file=tmp_path / "missing.pem", key_file=tmp_path / "key.pem").context()
    with pytest.raises(ComponentError, match=r"missing\.pem.*No such file"):
        ClientTls(ca_file=tmp_path / "missing.pem").context()
