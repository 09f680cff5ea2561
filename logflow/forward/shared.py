"""What the connections of one source share: limits, memory, turns, counters, and who there is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from logflow.clock import Clock
from logflow.component import Counter, Emit
from logflow.engine.api import Engine
from logflow.forward.handshake import ServerSecrets
from logflow.forward.intake import RequestPart
from logflow.forward.partials import Partials
from logflow.forward.reader import BufferPool
from logflow.memory import Share
from logflow.net.complaints import Complaints
from logflow.net.tags import Tags
from logflow.net.turns import Turns

if TYPE_CHECKING:
    from logflow.forward.receiver import Receiver


@dataclass(frozen=True)
class ReceiverLimits:
    """What a client may do.

    Attributes:
        max_frame: most bytes of one frame, as sent and when decompressed.
        max_connections: most connections at once.
        idle_timeout_s: silence between frames after which a connection is closed.
        read_timeout_s: silence within a frame, or within the handshake, after which it is closed.
    """

    max_frame: int
    max_connections: int
    idle_timeout_s: float
    read_timeout_s: float


@dataclass
class ReceiverContext:
    """What all connections of one source share.

    Attributes:
        reading: bounds the memory of what is received.
        opening: bounds the memory of what requests become when they are opened.
        tags: bounds the number of tags.
        groups: whether the fields of a group are added to its events.
        partials: puts messages together that come in pieces; ``None``: they stay as they are.
        account: told of events that are no good, or were put right: the tag, who sent them, and the part.
        spawn: starts a task that the source owns.
        complain: logs what goes wrong with peers.
        secrets: what the handshake asks for; ``None`` for no handshake.
    """

    engine: Engine
    clock: Clock
    emit: Emit
    limits: ReceiverLimits
    reading: Share
    opening: Share
    groups: bool
    tags: Tags
    partials: Partials | None
    account: Callable[[str, str, RequestPart], None]
    secrets: ServerSecrets | None
    spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
    complain: Complaints
    frames_rejected: Counter
    frames_ignored: Counter
    handshakes_refused: Counter
    connections_refused: Counter
    connections_timed_out: Counter
    pool: BufferPool = field(default_factory=BufferPool)
    turns: Turns = field(default_factory=Turns)
    receivers: set[Receiver] = field(default_factory=set)

    @property
    def crowded(self) -> bool:
        """Whether places are short: three of four are taken."""
        return 4 * len(self.receivers) > 3 * self.limits.max_connections
