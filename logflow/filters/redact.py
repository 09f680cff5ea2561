"""Filter ``redact``: hides what is personal or secret in texts."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from logflow.batch import Batch
from logflow.component import Context, Filter
from logflow.config.fields import Glob
from logflow.config.options import FilterConfig
from logflow.config.secrets import SecretField
from logflow.engine.changes import DetectorName, OwnPattern, RedactAction
from logflow.errors import ComponentError, DeliveryError
from logflow.regexes import parse_pattern
from logflow.regexes.ambiguity import cost

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


def _check_patterns(patterns: dict[str, str]) -> dict[str, str]:
    for name, pattern in patterns.items():
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a name such as customer_id: small letters, digits and _")
        if cost(parse_pattern(pattern)).power > 2:
            raise ValueError(
                f"{pattern!r} may take time that grows with more than the square of a text: write [^,]* or "
                "\\S+ where .* comes before a comma or a blank, and (?:a|b)+ for (?:a+|b)+"
            )
    return patterns


class RedactFilter(Filter):
    """Looks at texts, nested ones too, and puts something else in the place of what it finds.

    A filter that fails must let nothing pass: its events become dead letters unless told otherwise.
    """

    one_to_one = True

    class Config(FilterConfig):
        """Options of the filter ``redact``."""

        type: Literal["redact"] = "redact"
        on_error: Literal["keep", "drop", "dead_letter"] = Field(
            "dead_letter", description="What becomes of events for which the filter fails."
        )
        detectors: list[DetectorName] = Field(
            [],
            description="What to look for: `email`; `card`, payment cards by their check digit; `iban`; "
            "`ip`, addresses of both versions; `jwt`; `bearer`, tokens after that word; `aws_key`; "
            "`private_key`, over lines.",
            examples=[["email", "card"]],
        )
        patterns: Annotated[dict[str, str], AfterValidator(_check_patterns)] = Field(
            {},
            description="Regular expressions of your own, by names: `{customer_id: 'C-[0-9]{8}'}`. They see "
            "what the detectors left.",
        )
        fields: list[Glob] | None = Field(
            None,
            description="Fields to look at, with all that is in them; written as in `remove` of `set`. All "
            "texts of the record unless set.",
            examples=[["mail", "message", "http.headers.*"]],
        )
        action: RedactAction = Field(
            "mask",
            description="`mask` writes `[email]`; `hash` writes `[email:` and 16 digits that are the same "
            "for the same text and `key` (HMAC-SHA-256); `remove` leaves nothing.",
        )
        key: SecretField | None = Field(None, description="Key of `hash`.")
        keys: bool = Field(
            default=False, description="Look at names of fields, too; otherwise they stay as they are."
        )

        @model_validator(mode="after")
        def _check_options(self) -> RedactFilter.Config:
            if not self.detectors and not self.patterns:
                raise ValueError("set detectors or patterns, such as detectors: [email, card]")
            if (self.action == "hash") != (self.key is not None):
                raise ValueError("the action hash needs a key; other actions take none")
            return self

    config: RedactFilter.Config

    def __init__(self, config: RedactFilter.Config, context: Context) -> None:
        super().__init__(config, context)
        own = [
            OwnPattern(name, pattern, cost(parse_pattern(pattern)).power > 1)
            for name, pattern in config.patterns.items()
        ]
        detectors = list(dict.fromkeys(config.detectors))
        self._redaction = context.engine.redaction(
            detectors, own, config.fields, config.action, keys=config.keys
        )
        self._counters = [
            context.counter(f"redacted_{name}", f"Texts in which {name} was hidden, one for each place.")
            for name in (*detectors, *config.patterns)
        ]

    async def open(self) -> None:
        """Read the key.

        Raises:
            ComponentError: it cannot be read.
        """
        try:
            self._key()
        except DeliveryError as error:
            raise ComponentError(f"filter {self.context.name}: {error}") from error

    def apply(self, batch: Batch) -> Batch:
        """Hide what is found in the records."""
        entries, counts = self._redaction.apply(batch.entries, self._key())
        for counter, count in zip(self._counters, counts, strict=True):
            counter(count)
        return batch if entries is batch.entries else batch.with_entries(entries, batch.count)

    def _key(self) -> bytes:
        return b"" if self.config.key is None else self.config.key.reveal().encode()
