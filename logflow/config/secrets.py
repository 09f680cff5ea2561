"""Secrets: given as text, or in a file that is read again whenever it changes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, PlainValidator, SecretStr

from logflow.config.fields import Notation
from logflow.errors import DeliveryError

_EMPTY = "the secret is empty and would protect nothing; set it, or leave the key out"


class Secret:
    """Text that is never shown.

    A token that is rotated stands in a file: ``{file: /run/secrets/token}``. The file is looked at with each
    use and read when it has changed, so that a new token counts without a reload.
    """

    def __init__(self, text: str = "", path: Path | None = None) -> None:
        self._text = text
        self._path = path
        self._seen: tuple[int, int, int] | None = None

    @classmethod
    def parse(cls, value: object) -> Secret:
        """Read ``text`` or ``{file: /path}``.

        Raises:
            ValueError: it is neither, or it is empty: an empty secret protects nothing.
        """
        match value:
            case Secret():
                return value
            case str() if value.strip():
                return cls(value)
            case {"file": str() | Path() as path, **others} if path and not others:
                return cls(path=Path(path))
            case str():
                raise ValueError(_EMPTY)
        raise ValueError("a secret is text, or {file: /path} for one that is read again when it changes")

    def reveal(self) -> str:
        """Return the text as it is now. A file that cannot be read at the moment changes nothing.

        Raises:
            DeliveryError: the file could never be read, or never held anything.
        """
        if self._path is not None:
            problem = self._read(self._path)
            if not self._text:
                raise DeliveryError(f"cannot use the secret in {self._path}: {problem}")
        return self._text

    def _read(self, path: Path) -> str:
        try:
            status = path.stat()
            seen = (status.st_mtime_ns, status.st_size, status.st_ino)
            if seen != self._seen:
                # A file that is being replaced may be empty for a moment.
                self._text = path.read_text().strip() or self._text
                self._seen = seen
        except OSError as error:
            return error.strerror or str(error)
        except UnicodeDecodeError:
            return "it is not UTF-8 text"
        return "it is empty"

    def __repr__(self) -> str:
        return "Secret('**********')"


SecretField = Annotated[
    Secret,
    PlainValidator(Secret.parse),
    Notation(
        "secret, or `{file: path}`",
        "${file:/run/secrets/token}",
        {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {
                    "type": "object",
                    "properties": {"file": {"type": "string"}},
                    "required": ["file"],
                    "additionalProperties": False,
                },
            ]
        },
    ),
]
"""A secret; ``{file: /path}`` is read again when the file changes."""


def _check_static(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().strip():
        raise ValueError(_EMPTY)
    return value


StaticSecret = Annotated[SecretStr, AfterValidator(_check_static)]
"""A secret that is read once, when the configuration is loaded."""
