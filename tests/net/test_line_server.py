"""A source of lines as docs/plugins.md writes it."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from logflow.batch import Batch
from logflow.component import Context, Emit, Source
from logflow.config.fields import Address, NonEmpty
from logflow.net.line_server import LineServer, LineServerConfig
from logflow.testing import Collector, make_context, run_source

PAGE = Path(__file__).parents[2] / "docs" / "plugins.md"


def lines_source() -> Any:
    (code,) = re.findall(r"```python\n(class LinesSource.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, Any] = {
        value.__name__: value for value in (Batch, Context, Field, LineServer, LineServerConfig, Source)
    }
    names |= {
        "Address": Address,
        "Emit": Emit,
        "Literal": Literal,
        "NonEmpty": NonEmpty,
        "Sequence": Sequence,
    }
    exec("from __future__ import annotations\n" + code, names)
    names["LinesSource"].Config.model_rebuild(_types_namespace=names)
    return names["LinesSource"]


async def test_the_source_of_the_page_takes_lines_of_many_peers(tmp_path: Path) -> None:
    kind, emit = lines_source(), Collector()
    config = kind.Config(type="lines", listen="127.0.0.1:0", tag="lines", max_message=480)
    source = kind(config, make_context(tmp_path))
    async with run_source(source, emit):
        port = source._server.port
        writers = [(await asyncio.open_connection("127.0.0.1", port))[1] for _ in range(2)]
        for number, writer in enumerate(writers):
            writer.write(b"12 is no length here\n" + b"x" * 1000 + b"\nlast %d" % number)
            await writer.drain()
        await emit.wait_for(4)
        peers = {"{}:{}".format(*writer.get_extra_info("sockname")) for writer in writers}
    for writer in writers:
        writer.close()
    messages = sorted(record["message"] for record in emit.records())
    assert messages == ["12 is no length here"] * 2 + ["last 0", "last 1"] + ["x" * 480] * 2
    assert {batch.attributes["peer"] for batch in emit.batches} == peers


async def test_a_server_without_datagrams_takes_none(tmp_path: Path) -> None:
    source = lines_source()
    config = source.Config(type="lines", listen="127.0.0.1:0", tag="lines")
    running = source(config, make_context(tmp_path))
    async with run_source(running, Collector()):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.bind(("127.0.0.1", running._server.port))  # nobody else has it
