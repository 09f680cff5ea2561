"""Output ``splunk_hec``: events to the HTTP Event Collector of Splunk.

::

    POST /services/collector/event    Authorization: Splunk TOKEN
    {"host":...,"source":...,"sourcetype":...,"index":...,"time":1700000000.0,"event":{...}}    in a row

    200  taken
    400  {"code":6,"invalid-event-number":3}: the events before the fourth are taken, the fourth is refused
    400  with a code about token, index or channel: held
    403  token; 503 busy

Delivery is at least once. Source: "HTTP Event Collector", "Error codes", in Splunk's documentation.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import msgspec
from pydantic import Field

from logflow.batch import Chunk
from logflow.component import Context
from logflow.compression import Compression
from logflow.config.secrets import Secret, SecretField
from logflow.engine.stores import Wrapping
from logflow.errors import DeliveryError, PermanentError
from logflow.net.http_client import Answer
from logflow.net.http_client.config import Meaning
from logflow.outputs.http_store import GroupStoreConfig, HttpStore
from logflow.outputs.outcomes import outcome
from logflow.templates.names import NameTemplate, Template, distinct_rows

_ABOUT_CONFIGURATION = {1, 2, 3, 4, 7, 10, 11, 14}
"""Codes about the token, the index and the channel: somebody will mend it."""


class _Status(msgspec.Struct):
    code: int = -1
    text: str = ""
    invalid: int | None = msgspec.field(default=None, name="invalid-event-number")


_read_status = msgspec.json.Decoder(_Status).decode


class SplunkHecOutput(HttpStore):
    """Delivers to Splunk."""

    groups = True

    class Config(GroupStoreConfig):
        """Options of the output ``splunk_hec``."""

        example: ClassVar[Mapping[str, Any]] = {"endpoints": ["http://127.0.0.1:8088"], "token": "a-token"}

        type: Literal["splunk_hec"] = "splunk_hec"
        token: SecretField = Field(description="Token of the collector.")
        host: Template = Field("{hostname}", description="Host: a template with `{tag}`, `{field}`.")
        source: Template = Field("{tag}", description="Source: a template too.")
        sourcetype: Template = Field("_json", description="Source type: a template too.")
        index: Template | None = Field(
            None, description="Index, a template too; that of the token unless set."
        )
        compress: Compression = Field("gzip", description="Content-Encoding of the body.")

        def meaning(self, status: int) -> Meaning:
            """An answer 400 says how far the events were taken: so it is read."""
            return "delivered" if status == 400 and 400 not in self.answers else super().meaning(status)

    config: SplunkHecOutput.Config

    def __init__(self, config: SplunkHecOutput.Config, context: Context) -> None:
        super().__init__(config, context)
        texts = {
            "host": config.host,
            "source": config.source,
            "sourcetype": config.sourcetype,
            "index": config.index,
        }
        self._meta = {
            key: NameTemplate(text, context.engine) for key, text in texts.items() if text is not None
        }

    def identity(self) -> Mapping[str, tuple[str, Secret]]:
        """The token."""
        return {"Authorization": ("Splunk ", self.config.token)}

    def path(self, chunks: Sequence[Chunk]) -> str:  # noqa: ARG002 - one place for all
        """The collector of events."""
        return "/services/collector/event"

    def body(self, chunks: Sequence[Chunk]) -> Iterable[bytes]:
        """Write the events, each with what Splunk wants to know beside it."""
        for chunk in chunks:
            columns = [template.names(chunk.entries, chunk.tag) for template in self._meta.values()]
            rows, which = distinct_rows(columns)
            before = [
                json.dumps(dict(zip(self._meta, row, strict=True))).removesuffix("}").encode() + b',"time":'
                for row in rows
            ]
            wrapping = Wrapping(before, b',"event":', b"}\n", which, "seconds")
            yield self.context.engine.to_wrapped(chunk.entries, chunk.tag, wrapping, None, None)

    def results(self, chunks: Sequence[Chunk], answer: Answer) -> Sequence[Exception | None]:
        """Read how far the events were taken."""
        if answer.status < 300:
            return [None] * len(chunks)
        said = self.client.excerpt(answer)
        try:
            status = _read_status(answer.body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            status = _Status()
        held = status.code in _ABOUT_CONFIGURATION
        if status.invalid is None:
            raise DeliveryError(f"{said} (look at token and index)") if held else PermanentError(said)
        results: list[Exception | None] = []
        first = 0
        for chunk in chunks:
            results.append(self._result(chunk, status.invalid - first, said, held=held))
            first += chunk.count
        return results

    def _result(self, chunk: Chunk, bad: int, said: str, *, held: bool) -> Exception | None:
        """The result of a chunk of which the event number ``bad`` is the first that was not taken."""
        if bad >= chunk.count:
            return None
        refused = {bad: said} if bad >= 0 and not held else {}
        again = range(max(bad, 0) + len(refused), chunk.count)
        return outcome(
            chunk, refused, again, f"{said} (events behind the one that was refused)", self.context.engine
        )
