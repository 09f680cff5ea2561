"""Output ``postgres``: COPY into a table, each event once.

One transaction carries chunks of many tags: their ids go into a table of their own, and the rows of those
whose id was not there yet into the table of events::

    BEGIN
    INSERT INTO logflow_chunks (id) ... ON CONFLICT DO NOTHING RETURNING id      which of them are new?
    COPY logs (time, tag, record) FROM STDIN                                     these alone
    COMMIT

Both are there or none, so it does not matter whether the answer to COMMIT arrives. An attempt that still runs
when the next one begins holds the ids: the next waits for its end, and then knows.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from logflow import extras
from logflow.batch import Chunk
from logflow.component import Context, Output
from logflow.config.fields import Address, Duration, ExpressionField, NonEmpty
from logflow.config.options import GroupOutputConfig, OutputConfig
from logflow.config.secrets import SecretField
from logflow.config.tls import ClientTls
from logflow.errors import DeliveryError, LimitExceeded
from logflow.outputs.postgres.rows import CopyRows

_NAME = re.compile(r'[^\0".]{1,63}')
_KEPT_DAYS = 30
"""How long ids of chunks are kept: longer than a chunk that was delivered can come again."""
_END = object()


class PostgresOutput(Output):
    """Copies rows into a table, in one transaction with the ids of their chunks."""

    groups = True

    class Config(GroupOutputConfig, OutputConfig):
        """Options of the output ``postgres``."""

        example: ClassVar[Mapping[str, Any]] = {"address": "127.0.0.1:5432", "database": "logs"}

        type: Literal["postgres"] = "postgres"
        address: Address = Field(description="Host and port of the server.", examples=["db:5432"])
        database: NonEmpty = Field(description="Name of the database.")
        username: NonEmpty = Field("postgres", description="Who connects.")
        password: SecretField | None = Field(None, description="Password of the user.")
        tls: ClientTls | None = Field(
            None, description="Encrypt connections; verified unless told otherwise."
        )
        table: NonEmpty = Field("logs", description="Where events go: `table` or `schema.table`.")
        chunk_table: NonEmpty = Field(
            "logflow_chunks", description="Where the ids of stored chunks go, to recognise a repeat."
        )
        create_tables: bool = Field(default=False, description="Make both tables where they are missing.")
        time_column: NonEmpty = Field("time", description="Column of the time, `timestamptz`.")
        tag_column: NonEmpty = Field("tag", description="Column of the tag, `text`.")
        record_column: NonEmpty | None = Field(
            "record", description="Column of the whole record, `jsonb`; `null`: none."
        )
        columns: dict[NonEmpty, ExpressionField] = Field(
            {}, description="Further columns, and the expressions that compute their values."
        )
        connect_timeout: Duration = Field(10.0, description="Longest time until a connection is made.")

        @field_validator("table", "chunk_table")
        @classmethod
        def _check_table(cls, name: str) -> str:
            parts = name.split(".")
            if len(parts) > 2 or not all(_NAME.fullmatch(part) for part in parts):
                raise ValueError(f"{name!r} is not the name of a table; write table or schema.table")
            return name

        @model_validator(mode="after")
        def _check_names(self) -> PostgresOutput.Config:
            names = self.all_columns
            if len(set(names)) < len(names):
                raise ValueError("two columns have the same name")
            if not all(_NAME.fullmatch(name) for name in names):
                raise ValueError("a column has a name of at most 63 characters, without quotes and dots")
            if self.tls is not None and self.tls.server_name is not None:
                raise ValueError("the certificate must carry the name in address; leave server_name out")
            return self

        @property
        def all_columns(self) -> list[str]:
            """Names of the columns, in the order in which rows have them."""
            record = [self.record_column] if self.record_column is not None else []
            return [self.time_column, self.tag_column, *record, *self.columns]

    config: PostgresOutput.Config

    def __init__(self, config: PostgresOutput.Config, context: Context) -> None:
        super().__init__(config, context)
        self._asyncpg = extras.load("asyncpg", "postgres", f"output {context.name} (postgres)")
        self._rows = CopyRows([*config.columns.values()], context, record=config.record_column is not None)
        self._tls: ssl.SSLContext | bool = False
        self._idle: list[Any] = []

    async def open(self) -> None:
        """Connect, and make the tables if that is wanted."""
        config = self.config
        self._tls = config.tls.context() if config.tls else False
        try:
            async with self._connection() as connection:
                if config.create_tables:
                    await connection.execute(self._statements())
                await connection.execute(
                    f"DELETE FROM {_quoted(config.chunk_table)} "  # noqa: S608
                    f"WHERE stored < now() - interval '{_KEPT_DAYS} days'"
                )
                await connection.execute(f"SELECT FROM {_quoted(config.table)} LIMIT 0")
        except Exception as error:
            raise self._undelivered(error) from error

    async def close(self) -> None:
        """End the connections."""
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.terminate()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        """A connection, to be used by one task; one that failed is not used again."""
        while self._idle and self._idle[-1].is_closed():
            self._idle.pop()
        connection = self._idle.pop() if self._idle else await self._connect()
        try:
            yield connection
        except BaseException:
            connection.terminate()
            raise
        self._idle.append(connection)

    async def _connect(self) -> Any:
        config = self.config
        return await self._asyncpg.connect(
            host=config.address[0], port=config.address[1], database=config.database, user=config.username,
            password=config.password.reveal() if config.password else None, ssl=self._tls,
            timeout=config.connect_timeout, statement_cache_size=0,  # a proxy may share connections
            server_settings={"application_name": "logflow"},
        )  # fmt: skip

    async def write(self, chunk: Chunk) -> None:
        """Store a chunk in a transaction of its own."""
        (answer,) = await self.write_group([chunk])
        if answer is not None:
            raise answer

    async def write_group(self, chunks: Sequence[Chunk]) -> Sequence[Exception | None]:
        """Store chunks in one transaction; if it fails for what an event holds, each in its own."""
        try:
            await self._store(chunks)
        except LimitExceeded as error:
            if len(chunks) == 1:
                return [error]
            return [(await self.write_group([chunk]))[0] for chunk in chunks]
        return [None] * len(chunks)

    async def _store(self, chunks: Sequence[Chunk]) -> None:
        try:
            async with self._connection() as connection:
                await connection.execute("BEGIN")
                await self._copy_new(connection, chunks)
                # The library gives no error for a transaction that the server has ended: its answer tells.
                if (answer := await connection.execute("COMMIT")) != "COMMIT":
                    raise DeliveryError(f"PostgreSQL answered {answer} to COMMIT")
        except self._asyncpg.DataError as error:
            raise LimitExceeded(f"PostgreSQL refuses an event: {_line(error)}") from error
        except self._asyncpg.IntegrityConstraintViolationError as error:
            raise LimitExceeded(f"PostgreSQL refuses an event: {_line(error)}") from error
        except Exception as error:
            raise self._undelivered(error) from error

    async def _copy_new(self, connection: Any, chunks: Sequence[Chunk]) -> None:
        """Within a transaction: note the ids of chunks, and copy the rows of those that were not noted."""
        schema, _, table = self.config.table.rpartition(".")
        rows = await connection.fetch(
            f"INSERT INTO {_quoted(self.config.chunk_table)} (id) SELECT unnest($1::bytea[]) "
            "ON CONFLICT DO NOTHING RETURNING id",
            sorted(chunk.id for chunk in chunks),  # in one order, so that nobody waits in a circle
        )
        ids = {bytes(row["id"]) for row in rows}
        if new := [chunk for chunk in chunks if chunk.id in ids]:
            answer = await connection.copy_to_table(
                table, schema_name=schema or None, columns=self.config.all_columns, format="text",
                source=_in_thread(self._rows.of(new)),
            )  # fmt: skip
            if answer != (expected := f"COPY {sum(chunk.count for chunk in new)}"):
                raise DeliveryError(f"PostgreSQL answered {answer}, not {expected}")

    def _statements(self) -> str:
        config = self.config
        kinds = {config.time_column: "timestamptz NOT NULL", config.tag_column: "text NOT NULL"}
        if config.record_column is not None:
            kinds[config.record_column] = "jsonb NOT NULL"
        columns = ", ".join(f"{_quoted(name)} {kinds.get(name, 'text')}" for name in config.all_columns)
        return (
            f"CREATE TABLE IF NOT EXISTS {_quoted(config.table)} ({columns}); "
            f"CREATE TABLE IF NOT EXISTS {_quoted(config.chunk_table)} "
            "(id bytea PRIMARY KEY, stored timestamptz NOT NULL DEFAULT now())"
        )

    def _undelivered(self, error: Exception) -> DeliveryError:
        """Say what to do."""
        host, port = self.config.address
        where = f"the database {self.config.database} at {host}:{port}"
        match error:
            case self._asyncpg.UndefinedTableError() | self._asyncpg.InvalidSchemaNameError():
                return DeliveryError(
                    f"{_line(error)} in {where}; set create_tables: true, or run: {self._statements()}"
                )
            case self._asyncpg.InvalidAuthorizationSpecificationError():
                return DeliveryError(f"{where} refuses {self.config.username}: {_line(error)}")
            case DeliveryError():
                return error
        return DeliveryError(f"{where} did not take events: {_line(error)}")


async def _in_thread(slices: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Make each slice in a thread, so that the event loop is not held up."""
    while (piece := await asyncio.to_thread(next, slices, _END)) is not _END:
        assert isinstance(piece, bytes)
        yield piece


def _quoted(name: str) -> str:
    return ".".join(f'"{part}"' for part in name.split("."))


def _line(error: BaseException) -> str:
    """What the server says, in one line, with the place of it, but without the event."""
    context = getattr(error, "context", None) or ""
    place = re.match(r"COPY [^:]{1,200}", context)
    text = " ".join(f"{error}".split()) or type(error).__name__
    return f"{text[:300]} ({place[0]})" if place else text[:300]
