"""How to reach the API."""

from __future__ import annotations

import base64

import pytest
import yaml

from logflow.errors import ComponentError
from logflow.kubernetes.access import from_kubeconfig, in_cluster


def kubeconfig(path, user, **cluster):
    path.write_text(
        yaml.safe_dump({
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:6443/", **cluster}}],
            "users": [{"name": "u", "user": user}],
        })
    )  # fmt: skip
    return path


def test_a_pod_finds_its_service_account(tmp_path):
    (tmp_path / "token").write_text("secret\n")
    environment = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "6443"}
    access = in_cluster(environment, tmp_path)
    assert (access.url, access.ca) == ("https://10.0.0.1:6443", tmp_path / "ca.crt")
    assert access.headers() == {"Authorization": "Bearer secret"}
    (tmp_path / "token").write_text("rotated")
    assert access.headers() == {"Authorization": "Bearer rotated"}


def test_an_ipv6_address_stands_in_brackets(tmp_path):
    assert in_cluster({"KUBERNETES_SERVICE_HOST": "fd00::1"}, tmp_path).url == "https://[fd00::1]:443"


def test_outside_of_a_cluster_it_says_what_to_set(tmp_path):
    with pytest.raises(ComponentError, match="set kubeconfig"):
        in_cluster({}, tmp_path)


def test_a_kubeconfig_gives_tokens_and_certificates(tmp_path, certificates):
    data = base64.b64encode(certificates.client.read_bytes()).decode()
    key = base64.b64encode(certificates.client_key.read_bytes()).decode()
    ca = base64.b64encode(certificates.ca.read_bytes()).decode()
    path = kubeconfig(
        tmp_path / "config",
        {"token": "t", "client-certificate-data": data, "client-key-data": key},
        **{"certificate-authority-data": ca},
    )
    access = from_kubeconfig(path)
    assert access.url == "https://127.0.0.1:6443"
    assert access.headers() == {"Authorization": "Bearer t"}
    assert access.tls().verify_mode.name == "CERT_REQUIRED"
    (tmp_path / "token").write_text("from a file")
    path = kubeconfig(tmp_path / "config", {"tokenFile": "token"}, **{"insecure-skip-tls-verify": True})
    assert from_kubeconfig(path).headers() == {"Authorization": "Bearer from a file"}
    assert from_kubeconfig(path).tls().verify_mode.name == "CERT_NONE"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot read"),
        ("{", "cannot be used"),
        ("[]", "cannot be used"),
        ("current-context: x\ncontexts: []", "none of its contexts named 'x'"),
    ],
)
def test_a_kubeconfig_that_is_no_good_is_named_in_one_line(tmp_path, text, said):
    path = tmp_path / "config"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ComponentError, match=said) as caught:
        from_kubeconfig(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_commands_of_a_kubeconfig_are_not_run(tmp_path):
    path = kubeconfig(tmp_path / "config", {"exec": {"command": "touch", "args": [str(tmp_path / "ran")]}})
    with pytest.raises(ComponentError, match="made by a command"):
        from_kubeconfig(path)
    assert not (tmp_path / "ran").exists()


def test_a_token_that_could_forge_headers_is_refused(tmp_path):
    path = kubeconfig(tmp_path / "config", {"token": "a\r\nHost: b"})
    with pytest.raises(ComponentError, match="not a token"):
        from_kubeconfig(path).headers()
