"""The bucket: puts objects that are not there yet, and says in one line what went wrong.

Credentials come from the configuration, else from where AWS's own tools find them, in this order: the
environment, a web identity (``AWS_ROLE_ARN`` and the token file, which is read again), the container's role,
the instance's role. Those of a ``profile``, and secrets in files, are read again every minute.
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, model_validator

from logflow import extras
from logflow.config.fields import NonEmpty
from logflow.config.options import OutputConfig
from logflow.config.secrets import SecretField
from logflow.errors import ComponentError, DeliveryError

_REREAD = timedelta(minutes=1)
_ATTEMPT = "logflow-attempt"
_NOT_RETRIED_HERE = {"max_retries": 1, "retry_timeout": timedelta(seconds=5)}
"""The host tries again, and knows when."""


class NotTold(DeliveryError):
    """These credentials may not ask what an object holds."""


class BucketConfig(OutputConfig):
    """Where a bucket is, and how one gets in."""

    example: ClassVar[Mapping[str, Any]] = {"bucket": "logs", "endpoint": "http://127.0.0.1:9"}

    bucket: NonEmpty = Field(description="Name of the bucket; it must exist.")
    region: NonEmpty | None = Field(
        None, description="Region of the bucket; `AWS_REGION`, else `us-east-1`, unless set."
    )
    endpoint: NonEmpty | None = Field(
        None,
        pattern="^https?://",
        description="URL of a store that is compatible with S3; AWS unless set.",
        examples=["http://minio:9000"],
    )
    virtual_host: bool = Field(
        default=False,
        description="Put the bucket's name into the host name of `endpoint`, not into the path.",
    )
    access_key_id: NonEmpty | None = Field(
        None, description="Access key; found as AWS's tools find it unless set."
    )
    secret_access_key: SecretField | None = Field(None, description="Secret of the access key.")
    session_token: SecretField | None = Field(None, description="Token of temporary credentials.")
    profile: NonEmpty | None = Field(
        None, description="Section of `~/.aws/credentials` (`AWS_SHARED_CREDENTIALS_FILE`) to use."
    )
    ca_file: Path | None = Field(None, description="Authorities to trust besides those of the system, PEM.")
    encryption: NonEmpty | None = Field(
        None,
        description="Encryption by the server: `AES256`, `aws:kms` or `aws:kms:dsse`; the bucket's own "
        "unless set.",
    )
    kms_key_id: NonEmpty | None = Field(None, description="Key of `aws:kms`.")
    storage_class: NonEmpty | None = Field(
        None, description="Class of new objects, such as `STANDARD_IA`; the bucket's unless set."
    )
    conditional: bool = Field(
        default=True,
        description="Put objects on the condition that there is none of that name (`If-None-Match`); "
        "`false` for stores that deny it: then a failure may double events.",
    )

    @model_validator(mode="after")
    def _check_credentials(self) -> BucketConfig:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id and secret_access_key go together; set both or none")
        if self.profile is not None and self.access_key_id is not None:
            raise ValueError("set either profile or access_key_id")
        if self.kms_key_id is not None and not (self.encryption or "").startswith("aws:kms"):
            raise ValueError("kms_key_id needs encryption: aws:kms")
        return self


class Bucket:
    """One bucket. Made without I/O.

    Raises:
        ComponentError: the library is missing, or a file cannot be read.
    """

    def __init__(self, config: BucketConfig, name: str) -> None:
        what = f"output {name} ({config.type})"
        self._obstore = extras.load("obstore", "s3", what)
        self._errors = extras.load("obstore.exceptions", "s3", what)
        self._config = config
        self._store: Any = None

    def open(self) -> None:
        """Read files of credentials and authorities; no connection is made.

        Raises:
            ComponentError: something of it cannot be used.
        """
        make = extras.load("obstore.store", "s3", "output").S3Store
        try:
            self._store = make(**store_options(self._config))
        except (self._errors.BaseError, ValueError) as error:
            raise ComponentError(f"cannot use the bucket {self._config.bucket}: {_line(error)}") from error

    async def put(self, key: str, body: bytes, attempt: str, content_type: str) -> bool:
        """Make an object; ``False`` if there is one of that name.

        Raises:
            DeliveryError: it may be there or not.
        """
        attributes = {"Content-Type": content_type, _ATTEMPT: attempt}
        if self._config.storage_class is not None:
            attributes["Storage-Class"] = self._config.storage_class
        mode = "create" if self._config.conditional else "overwrite"
        try:
            await self._obstore.put_async(
                self._store, key, body, attributes=attributes, mode=mode, use_multipart=False
            )
        except self._errors.AlreadyExistsError:
            return False
        except (self._errors.BaseError, OSError) as error:
            raise self._undelivered(error) from error
        return True

    async def attempt_in(self, key: str) -> str | None:
        """The attempt that an object holds; empty if it does not say, ``None`` if there is none.

        Raises:
            NotTold: these credentials may not ask.
            DeliveryError: there is no answer.
        """
        try:
            found = await self._obstore.get_async(self._store, key, options={"head": True})
        except (self._errors.NotFoundError, FileNotFoundError):
            return None
        except self._errors.PermissionDeniedError as error:
            raise NotTold(str(self._undelivered(error))) from error
        except (self._errors.BaseError, OSError) as error:
            raise self._undelivered(error) from error
        return str(found.attributes.get(_ATTEMPT, ""))

    def _undelivered(self, error: Exception) -> DeliveryError:
        """Say what to do."""
        bucket, errors, text = self._config.bucket, self._errors, _line(error)
        if isinstance(error, errors.UnauthenticatedError | errors.PermissionDeniedError):
            return DeliveryError(
                f"the bucket {bucket} refuses these credentials; check them and what they may do: {text}"
            )
        if isinstance(error, errors.NotFoundError | FileNotFoundError):
            return DeliveryError(f"there is no bucket {bucket}; make it, or change bucket: {text}")
        if "NotImplemented" in text or "501" in text:
            return DeliveryError(
                f"the bucket {bucket} takes no conditional puts; set conditional: false, which may double "
                f"events after failures: {text}"
            )
        return DeliveryError(f"the bucket {bucket} did not take an object: {text}")


def store_options(config: BucketConfig) -> dict[str, Any]:
    """Arguments of the library's store: for whoever writes to the bucket or reads from it.

    Raises:
        ComponentError: a file cannot be read.
    """
    options: dict[str, Any] = {
        "bucket": config.bucket,
        "region": config.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
        "endpoint": config.endpoint,
        "virtual_hosted_style_request": config.virtual_host or None,
        "server_side_encryption": config.encryption,
        "sse_kms_key_id": config.kms_key_id,
        "credential_provider": credentials(config),
    }
    client: dict[str, Any] = {"timeout": timedelta(seconds=config.write_timeout)}
    client["allow_http"] = (config.endpoint or "").startswith("http://")
    if config.ca_file is not None:
        client["root_certificate"] = _read(config.ca_file)
    return {
        **{key: value for key, value in options.items() if value is not None},
        "client_options": client,
        "retry_config": _NOT_RETRIED_HERE,
    }


def credentials(config: BucketConfig) -> Callable[[], dict[str, Any]] | None:
    """What tells credentials that may change, where they are configured."""
    if config.profile is not None:
        profile = config.profile
        return lambda: _expiring(*_of_profile(profile))
    if (secret := config.secret_access_key) is not None:
        token = config.session_token
        return lambda: _expiring(
            config.access_key_id or "", secret.reveal(), token.reveal() if token else None
        )
    return None


def _expiring(key_id: str, secret: str, token: str | None) -> dict[str, Any]:
    return {
        "access_key_id": key_id, "secret_access_key": secret, "token": token,
        "expires_at": datetime.now(UTC) + _REREAD,
    }  # fmt: skip


def _of_profile(profile: str) -> tuple[str, str, str | None]:
    path = Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials").expanduser()
    sections = configparser.ConfigParser(interpolation=None)
    try:
        sections.read_string(_read(path))
        section = sections[profile]
        return (
            section["aws_access_key_id"], section["aws_secret_access_key"],
            section.get("aws_session_token"),
        )  # fmt: skip
    except (configparser.Error, KeyError) as error:
        raise DeliveryError(f"{path} has no keys for the profile {profile}") from error


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ComponentError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error


def _line(error: BaseException) -> str:
    """What the library says, in one line without its debugging output."""
    return " ".join(str(error).partition("Debug source:")[0].split())[:300]
