"""Send lines from standard input to a forward source, and wait until they are safe there.

A line that is a JSON object becomes a record of its fields; any other line becomes the field `message`.
Exits with status 0 once every line was acknowledged; with 1, and one line on stderr, when one was not.
"""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from logflow.errors import ChunkTooLarge, ComponentError, DeliveryError, LogflowError
from logflow.forward.endpoint import ServerEndpoint
from logflow.receipt import Receipt

if TYPE_CHECKING:
    from logflow.batch import Batch, Chunk
    from logflow.component import Context, Output
    from logflow.telemetry.metrics import Metrics

_GATHERED_BYTES = 4 << 20
"""What may gather while a chunk is on its way."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "address", nargs="?", type=_address, default=ServerEndpoint(), metavar="ADDRESS",
        help="host:port or unix:/path (default: 127.0.0.1:24224)",
    )  # fmt: skip
    parser.add_argument("--tag", required=True, help="tag of the events")
    lines = parser.add_mutually_exclusive_group()
    lines.add_argument("--json", action="store_true", help="every line must be a JSON object")
    lines.add_argument("--raw", action="store_true", help="every line is a message, JSON or not")
    parser.add_argument("--shared-key-file", type=Path, metavar="FILE", help="the key for the handshake")
    parser.add_argument("--tls", action="store_true", help="encrypt")
    parser.add_argument(
        "--tls-ca-file", type=Path, metavar="FILE", help="authorities to trust instead of the system's"
    )
    parser.add_argument("--compress", choices=["none", "gzip", "zstd"], default="none")


def run(args: argparse.Namespace) -> int:
    """Send all of standard input."""
    import asyncio

    asyncio.run(_send(args))
    return 0


def _address(text: str) -> ServerEndpoint:
    try:
        return ServerEndpoint.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


async def _send(args: argparse.Namespace) -> None:
    import asyncio

    from logflow.outputs.forward import ForwardOutput
    from logflow.sources.stdin import StdinSource
    from logflow.telemetry.metrics import Metrics

    metrics = Metrics()
    context = _context(metrics)
    parse = {"type": "raw" if args.raw else "json"}
    source = StdinSource(
        StdinSource.Config.model_validate({"type": "stdin", "tag": args.tag, "parse": parse}), context
    )
    output = ForwardOutput(ForwardOutput.Config.model_validate(_output_options(args)), context)
    sender = _Sender(output, args.tag, metrics if args.json else None)
    await output.open()
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(sender.run())
            await source.run(sender)
            sender.end()
    except* LogflowError as errors:
        sent = f" ({sender.acknowledged:,} lines were acknowledged before)" if sender.acknowledged else ""
        raise DeliveryError(f"{errors.exceptions[0]}{sent}") from None
    except* OSError as errors:
        raise ComponentError(f"cannot read standard input: {errors.exceptions[0]}") from None
    finally:
        await output.close()


def _output_options(args: argparse.Namespace) -> dict[str, Any]:
    options: dict[str, Any] = {
        "type": "forward",
        "servers": [{"address": args.address}],
        "heartbeat": "none",
        "compress": args.compress,
    }
    if args.shared_key_file is not None:
        try:
            options["shared_key"] = args.shared_key_file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not text"
            raise ComponentError(f"cannot read the key in {args.shared_key_file}: {why}") from error
    if args.tls or args.tls_ca_file:
        options["tls"] = {"ca_file": args.tls_ca_file} if args.tls_ca_file else {}
    return options


def _context(metrics: Metrics) -> Context:
    """What the two components need, without a service around them."""
    from logflow.engine import load_engine
    from logflow.pipeline.contexts import Contexts
    from logflow.storage.checkpoints import Checkpoints

    log = logging.getLogger("logflow.cat")
    log.setLevel(logging.ERROR)  # what goes wrong is told once, at the end
    contexts = Contexts(load_engine(), Path(os.devnull), Checkpoints(None), metrics)
    return contexts.context("source", "cat", log)


class _Sender:
    """An ``Emit`` that sends what it is given; while a chunk is on its way, the next one gathers."""

    def __init__(self, output: Output, tag: str, strict: Metrics | None) -> None:
        """Send to ``output``; with ``strict``, a line that did not parse is an error."""
        import asyncio

        self.acknowledged = 0
        self._output = output
        self._tag = tag
        self._strict = strict
        self._parts: list[bytes] = []
        self._events = 0
        self._ended = False
        self._changed = asyncio.Event()

    async def __call__(self, batch: Batch) -> Receipt:
        """Take a batch once there is room."""
        if self._strict and any(c.value for c in self._strict.counters() if c.name == "lines_unparsed"):
            raise LogflowError("a line is not a JSON object; correct it, or leave out --json")
        await self.ready(self._tag)
        self._parts.append(batch.entries)
        self._events += batch.count
        self._changed.set()
        return Receipt(0)

    async def ready(self, tag: str) -> None:
        """Wait for room."""
        while self.full(tag):
            self._changed.clear()
            await self._changed.wait()

    def full(self, tag: str) -> bool:  # noqa: ARG002 - there is only one
        """Whether enough has gathered."""
        return sum(map(len, self._parts)) >= _GATHERED_BYTES

    def dropped(self, tag: str, events: int, reason: str) -> None:
        """Take no notice: lines are never of no use."""

    async def refused(self, batch: Batch, why: str) -> None:
        """Take no notice: the same."""

    def end(self) -> None:
        """There is nothing more to come."""
        self._ended = True
        self._changed.set()

    async def run(self) -> None:
        """Send what gathers, until the end."""
        from logflow.batch import Chunk

        while self._parts or not self._ended:
            if not self._parts:
                self._changed.clear()
                await self._changed.wait()
                continue
            chunk = Chunk(os.urandom(16), self._tag, tuple(self._parts), self._events)
            self._parts, self._events = [], 0
            self._changed.set()
            await self._write(chunk)

    async def _write(self, chunk: Chunk) -> None:
        """Send a chunk, in pieces if the output takes none of this size."""
        from logflow.pipeline.pieces import cut

        pieces = [chunk]
        while pieces:
            piece = pieces.pop(0)
            try:
                await self._output.write(piece)
            except ChunkTooLarge as error:
                if piece.count == 1:
                    raise
                limit = min(error.limit_hint or piece.size, piece.size - 1)
                pieces[:0] = cut(piece, limit, self._output.context.engine)
            else:
                self.acknowledged += piece.count
