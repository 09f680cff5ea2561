"""Where the API of Kubernetes is, and how to log in.

Inside a cluster: the address in the environment, and the files of the pod's service account. The token is
read again for each connection, as it is rotated (every hour, by default), and so is the authority. Outside:
the current context of a kubeconfig, with a token, a token's file or a client's certificate; commands that
make credentials (``exec``) are not run.
"""

from __future__ import annotations

import base64
import binascii
import os
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from logflow.errors import ComponentError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds what its service account logs in with."""

_MOST_BYTES = 4 << 20


@dataclass(frozen=True)
class Access:
    """How to reach the API.

    Attributes:
        url: scheme, host and port, and the path before ``/api``.
        ca: authorities to trust: a file, PEM text, or ``None`` for those of the system.
        token: the bearer token: a file, text, or ``None``.
        certificate: the client's certificate and key, each a file or PEM text.
        server_name: name that the server's certificate must carry.
        verify: whether the server's certificate is verified.
    """

    url: str
    ca: Path | str | None = None
    token: Path | str | None = None
    certificate: tuple[Path | str, Path | str] | None = None
    server_name: str | None = None
    verify: bool = True

    def headers(self) -> dict[str, str]:
        """Return the headers to log in with, as of now.

        Raises:
            ComponentError: the token cannot be read.
        """
        if self.token is None:
            return {}
        token = _read(self.token).strip() if isinstance(self.token, Path) else self.token.strip()
        if not token.isascii() or not token.isprintable():
            raise ComponentError(f"the token in {self.token} is not a token" if isinstance(self.token, Path)
                                 else "the token in the kubeconfig is not a token")  # fmt: skip
        return {"Authorization": f"Bearer {token}"}

    def tls(self) -> ssl.SSLContext | None:
        """Load the certificates, as of now; ``None`` where the API does not speak HTTPS.

        Raises:
            ComponentError: they cannot be used.
        """
        if not self.url.startswith("https:"):
            return None
        try:
            context = ssl.create_default_context(
                cafile=str(self.ca) if isinstance(self.ca, Path) else None,
                cadata=self.ca if isinstance(self.ca, str) else None,
            )
            if self.certificate is not None:
                _load_chain(context, *self.certificate)
        except OSError as error:
            raise ComponentError(
                f"cannot use the certificates for {self.url}: {error.strerror or error}"
            ) from error
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def in_cluster(environment: Mapping[str, str] = os.environ, directory: Path = SERVICE_ACCOUNT) -> Access:
    """Return the access of a pod's service account.

    Raises:
        ComponentError: this is no pod.
    """
    host = environment.get("KUBERNETES_SERVICE_HOST")
    if not host:
        raise ComponentError(
            "this process is not in a pod of a cluster (KUBERNETES_SERVICE_HOST is not set); outside of one, "
            "set kubeconfig"
        )
    port = environment.get("KUBERNETES_SERVICE_PORT", "443")
    return Access(
        f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        ca=directory / "ca.crt", token=directory / "token",
    )  # fmt: skip


def from_kubeconfig(path: Path) -> Access:
    """Return the access that the current context of a kubeconfig describes.

    Raises:
        ComponentError: it cannot be read, or needs what is not supported.
    """
    try:
        config = yaml.safe_load(_read(path))
        context = _named(config, "contexts", config["current-context"])["context"]
        cluster = _named(config, "clusters", context["cluster"])["cluster"]
        user = _named(config, "users", context["user"])["user"] or {}
        if "exec" in user or "auth-provider" in user:
            raise ComponentError(
                f"the kubeconfig {path} has credentials made by a command, which is not run; use one with a "
                "token or a certificate"
            )
        certificate = _pem(path, user, "client-certificate"), _pem(path, user, "client-key")
        return Access(
            url=str(cluster["server"]).rstrip("/"),
            ca=_pem(path, cluster, "certificate-authority"),
            token=path.parent / user["tokenFile"] if "tokenFile" in user else user.get("token"),
            certificate=certificate if None not in certificate else None,  # type: ignore[arg-type]
            server_name=cluster.get("tls-server-name"),
            verify=not cluster.get("insecure-skip-tls-verify", False),
        )
    except (KeyError, TypeError, ValueError, AttributeError, yaml.YAMLError) as error:
        what = " ".join(str(error).split()) or type(error).__name__
        raise ComponentError(f"the kubeconfig {path} cannot be used: {what}") from error


def _named(config: Mapping[str, Any], kind: str, name: str) -> Any:
    for entry in config[kind]:
        if entry["name"] == name:
            return entry
    raise ValueError(f"it has none of its {kind} named {name!r}")


def _pem(path: Path, entry: Mapping[str, Any], key: str) -> Path | str | None:
    if data := entry.get(f"{key}-data"):
        try:
            return base64.b64decode(data, validate=True).decode()
        except binascii.Error as error:
            raise ValueError(f"{key}-data is not base64") from error
    return path.parent / entry[key] if entry.get(key) else None


def _load_chain(context: ssl.SSLContext, certificate: Path | str, key: Path | str) -> None:
    """Load a certificate and its key; OpenSSL takes them from files alone."""
    with tempfile.TemporaryDirectory(prefix="logflow-") as directory:
        files: list[Path] = []
        for name, pem in (("certificate", certificate), ("key", key)):
            if isinstance(pem, str):
                file = Path(directory) / name
                file.touch(mode=0o600)
                file.write_text(pem)
                files.append(file)
            else:
                files.append(pem)
        context.load_cert_chain(files[0], files[1], password="")


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES).decode()
    except OSError as error:
        raise ComponentError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ComponentError(f"cannot read {path}: it is not UTF-8 text") from error
