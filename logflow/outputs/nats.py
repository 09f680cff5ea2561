"""Output ``nats``: messages in a JetStream, each once while the stream remembers their ids.

A chunk is a message of JSON Lines, or each event one. Every message has a ``Nats-Msg-Id`` that follows from
the chunk's id, so the stream answers a repeat like the first and stores it once, for as long as its
``duplicate_window`` says (two minutes unless told otherwise).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import Field, field_validator

from logflow.batch import Chunk
from logflow.component import Context, Output
from logflow.config.fields import Duration, NonEmpty
from logflow.config.options import GroupOutputConfig, Options
from logflow.encoders import EventKeys, encoder
from logflow.errors import ChunkTooLarge, DeliveryError
from logflow.net.nats import Nats, NatsConfig
from logflow.templates import PathTemplate, Splitter

_NOT_IN_SUBJECTS = re.compile(r"[\s*>\0-\x1f\x7f]")
_HEADER_BYTES = 512
_NOT_IN_HEADERS = re.compile(r"[\r\n]")
_STREAM_EXISTS = 10058
"""The server's code for a stream that exists with other settings: they are left as they are."""
_AT_ONCE = 512
"""Messages that wait for their acknowledgements."""


class StreamOptions(Options):
    """A stream that is made where it is missing."""

    name: NonEmpty = Field(description="Name of the stream.")
    subjects: list[NonEmpty] = Field(min_length=1, description="Subjects that it takes, such as `logs.>`.")
    replicas: int = Field(1, ge=1, le=5, description="Servers that have it.")
    max_age: Duration | None = Field(
        None, gt=0, description="How long it keeps messages; for good unless set."
    )
    duplicate_window: Duration = Field(
        600.0, gt=0, description="How long it remembers ids, to recognise a repeat."
    )


class _Message(NamedTuple):
    subject: str
    body: bytes
    id: str


class NatsOutput(Output):
    """Publishes to a JetStream, with ids by which the stream recognises repeats."""

    groups = True

    class Config(GroupOutputConfig, NatsConfig, EventKeys):
        """Options of the output ``nats``."""

        example: ClassVar[Mapping[str, Any]] = {"servers": ["nats://127.0.0.1:4222"], "subject": "logs"}

        type: Literal["nats"] = "nats"
        subject: NonEmpty = Field(
            description="Where events go: `{tag}`, `{tag[0]}`, `{hostname}` and `{field}` may stand in it.",
            examples=["logs.{tag}"],
        )
        message: Literal["chunk", "event"] = Field(
            "chunk",
            description="What a message is: a chunk, as JSON Lines, or one event, which costs much more.",
        )
        create_stream: StreamOptions | None = Field(
            None, description="Make the stream where it is missing; it must exist unless set."
        )

        @field_validator("subject")
        @classmethod
        def _check_subject(cls, text: str) -> str:
            PathTemplate(f"/{text}")
            if not all(text.split(".")) or "/" in text:
                raise ValueError("a subject is parts joined by dots, without slashes")
            return text

    config: NatsOutput.Config

    def __init__(self, config: NatsOutput.Config, context: Context) -> None:
        super().__init__(config, context)
        self._nats = Nats(config, f"output {context.name} (nats)")
        self._splitter = Splitter(PathTemplate(f"/{config.subject}"), context.engine)
        self._encode = encoder("ndjson", context.engine, time_key=config.time_key, tag_key=config.tag_key)

    async def open(self) -> None:
        """Connect, and make the stream if that is wanted."""
        jetstream = await self._nats.stream()
        if (wanted := self.config.create_stream) is None:
            return
        try:
            await jetstream.add_stream(
                name=wanted.name, subjects=wanted.subjects, num_replicas=wanted.replicas,
                max_age=wanted.max_age, duplicate_window=wanted.duplicate_window,
            )  # fmt: skip
        except self._nats.js_errors.BadRequestError as error:
            if error.err_code != _STREAM_EXISTS:
                raise self._nats.undelivered(error) from error
        except Exception as error:
            raise self._nats.undelivered(error) from error

    async def close(self) -> None:
        """Disconnect."""
        await self._nats.close()

    async def write(self, chunk: Chunk) -> None:
        """Publish a chunk, and wait until the stream has it."""
        jetstream = await self._nats.stream()
        messages = await asyncio.to_thread(lambda: list(self._messages(chunk)))
        limit = self._nats.max_payload - _HEADER_BYTES - len(chunk.tag.encode())
        if max(len(message.body) for message in messages) > limit:
            raise ChunkTooLarge(f"a message would be larger than the server's max_payload ({limit} bytes)")
        headers = {"tag": _NOT_IN_HEADERS.sub("_", chunk.tag)}
        try:
            for start in range(0, len(messages), _AT_ONCE):
                await asyncio.gather(
                    *(
                        jetstream.publish(
                            message.subject, message.body, headers={**headers, "Nats-Msg-Id": message.id}
                        )
                        for message in messages[start : start + _AT_ONCE]
                    )
                )
        except self._nats.js_errors.NoStreamResponseError:
            raise DeliveryError(
                f"no stream takes the subject {messages[0].subject}; make one, or set create_stream"
            ) from None
        except self._nats.errors.MaxPayloadError as error:
            raise ChunkTooLarge(str(error)) from error
        except Exception as error:
            raise self._nats.undelivered(error) from error

    async def write_group(self, chunks: Sequence[Chunk]) -> Sequence[Exception | None]:
        """Publish chunks beside each other; each has its own result."""
        results = await asyncio.gather(*map(self.write, chunks), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, Exception):
                raise result
        return [result if isinstance(result, Exception) else None for result in results]

    def _messages(self, chunk: Chunk) -> Iterator[_Message]:
        """The messages of a chunk: the same, with the same ids, whenever it comes."""
        number = 0
        for path, parts in self._splitter.parts(chunk).items():
            subject = _subject(path)
            body = b"".join(self._encode(parts, chunk.tag))
            for piece in [body] if self.config.message == "chunk" else body.splitlines():
                yield _Message(subject, piece, f"{chunk.id.hex()}-{number}")
                number += 1


@lru_cache(maxsize=4096)
def _subject(path: str) -> str:
    """The subject that a rendered template means: parts that are not empty, without wildcards."""
    name = _NOT_IN_SUBJECTS.sub("_", path.lstrip("/"))
    return ".".join(part or "_" for part in name.split("."))
