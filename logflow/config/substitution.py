"""What ``${...}`` stands for in a configuration.

::

    ${NAME}             the environment variable; an error when it is not set, or empty
    ${NAME:-default}    ... or the default, when it is not set or empty
    ${file:/path}       the content of a file, without a final newline; for secrets; an error when it is empty
    $${                 the two characters ${

Anything else with a dollar sign is left as it is, so regular expressions need no escaping. Values
are never shown in messages.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping
from pathlib import Path

_EXPRESSION = re.compile(r"\$\$\{|\$\{([^{}]*)(\}?)")
_VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)
_FILE_LIMIT_BYTES = 1 << 20


class Substitution:
    """Replaces ``${...}`` and remembers what must not be shown.

    Attributes:
        secrets: each value that was put in, with the expression that stood for it.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self.secrets: dict[str, str] = {}

    def apply(self, text: str, directory: Path) -> str:
        """Replace every expression in ``text``; relative files are looked up in ``directory``.

        Raises:
            ValueError: an expression cannot be replaced; the text says why.
        """

        def replace(match: re.Match[str]) -> str:
            if match[0] == "$${":
                return "${"
            if not match[2]:
                raise ValueError("'${' without its '}'; write $${ for a literal ${")
            return self._value(match[1], directory)

        return _EXPRESSION.sub(replace, text) if "${" in text else text

    def _value(self, name: str, directory: Path) -> str:
        if name.startswith("file:"):
            return self._hide(_read(directory / name.removeprefix("file:")), name)
        match = _VARIABLE.fullmatch(name)
        if match is None:
            raise ValueError(f"${{{name}}} is not ${{NAME}}, ${{NAME:-default}} or ${{file:/path}}")
        value = self._env.get(match[1], "")
        if value:
            return self._hide(value, name)
        if match[2] is None:
            state = "empty" if match[1] in self._env else "not set"
            raise ValueError(
                f"the environment variable {match[1]} is {state}; "
                f"set it or give a default: ${{{match[1]}:-default}}"
            )
        return match[2]

    def _hide(self, value: str, name: str) -> str:
        self.secrets[value] = f"${{{name}}}"
        return value


def _read(path: Path) -> str:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ValueError(f"{path} is not a regular file")
        with path.open("rb") as file:
            content = file.read(_FILE_LIMIT_BYTES + 1)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}; make it readable for logflow") from None
    if len(content) > _FILE_LIMIT_BYTES:
        raise ValueError(f"{path} is larger than 1MiB")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text") from None
    text = text[:-2] if text.endswith("\r\n") else text.removesuffix("\n")
    if not text:
        raise ValueError(f"{path} is empty; put the value into it")
    return text
