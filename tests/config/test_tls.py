"""TLS options."""

from __future__ import annotations

import contextlib
import hashlib
import ssl

import pytest
from pydantic import ValidationError

from logflow.config.tls import ClientTls, ServerTls
from logflow.errors import ComponentError
from logflow.testing.forwarding import make_certificates


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


def shaken(server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[str, str | None]:
    """Let two contexts shake hands; return the names in the server's and the client's certificates."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        server.wrap_bio(to_server, to_client, server_side=True),
        client.wrap_bio(to_client, to_server, server_hostname="localhost"),
    ]
    for _ in range(8):
        for end in ends:
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
    with contextlib.suppress(ssl.SSLWantReadError):
        ends[0].read(1)
    return name_of(ends[1]) or "", name_of(ends[0])


def name_of(end: ssl.SSLObject) -> str | None:
    certificate = end.getpeercert(binary_form=True)
    return hashlib.sha256(certificate).hexdigest() if certificate else None


def renew(directory, parts):
    """Put other certificates of the same names in the place of those that are there."""
    other = directory / "other"
    other.mkdir(exist_ok=True)
    make_certificates(other)
    for part in parts:
        (other / part).replace(directory / part)


def test_certificates_are_read_again_when_they_change_and_broken_ones_change_nothing(tmp_path, caplog):
    """For servers and for clients, authorities among them, and it is said once."""
    files = make_certificates(tmp_path)
    server = ServerTls(cert_file=files.server, key_file=files.server_key, client_ca_file=files.ca).context()
    client = ClientTls(ca_file=files.ca, cert_file=files.client, key_file=files.client_key).context()
    first = shaken(server, client)
    assert shaken(server, client) == first
    assert None not in first
    files.server.write_text("not a certificate")
    assert shaken(server, client) == first
    assert shaken(server, client) == first
    assert caplog.text.count("TLS files changed and cannot be used: cannot use certificate") == 1
    renew(tmp_path, ["ca.pem", "server.pem", "server.key", "client.pem", "client.key"])
    second = shaken(server, client)
    assert not {*first} & {*second}
    with pytest.raises(ssl.SSLError):
        shaken(server, ClientTls(ca_file=make_other(tmp_path)).context())


def make_other(directory):
    (directory / "stranger").mkdir()
    return make_certificates(directory / "stranger").ca


def test_a_certificate_whose_key_comes_a_moment_later_is_used_then(tmp_path, caplog):
    files = make_certificates(tmp_path)
    server = ServerTls(cert_file=files.server, key_file=files.server_key).context()
    client = ClientTls(ca_file=files.ca).context()
    first = shaken(server, client)
    renew(tmp_path, ["ca.pem", "server.pem"])
    with pytest.raises(ssl.SSLError):  # the old one, which the new authority did not sign
        shaken(server, client)
    assert "cannot be used: cannot use certificate" in caplog.text
    assert "key values mismatch; what was read before" in caplog.text
    (tmp_path / "other" / "server.key").replace(files.server_key)
    assert shaken(server, client)[0] not in first
