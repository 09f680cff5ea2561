"""The server's side of one connection.

::

    socket ──► FrameReader ──► slabs ──► one task: requests ──► emit ──► receipt ──► AckQueue ──► socket
       ▲                         │ more than one waits              │ waits under back-pressure
       └───── reading pauses ────┴──────────────────────────────────┘

    handshake? ──► frames ──► ending (end of stream, refused) ──► answered ──► closed

The task exists only while there is something to do; an idle connection costs its socket. Few slabs are
held: one being handled, and what was read meanwhile. Connections handle requests in turn, and for a bounded
time in each turn of the event loop (``turns.py``).

What a connection holds, and what reading on will take, is asked for first (``logflow.memory``): its buffer,
slabs, the frames found in them, and answers that wait. Until it is granted, nothing is read, and what was
read is not looked into; only the first few kilobytes come without asking. What a request becomes when it is
opened is asked for in another share, so that those who read cannot starve those who finish.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any

from logflow.component import Counter
from logflow.engine.api import MAX_FRAMES
from logflow.errors import MalformedData
from logflow.forward.acks import AckQueue
from logflow.forward.frames import pack_ack
from logflow.forward.handshake import ServerHandshake
from logflow.forward.identity import peer_identity
from logflow.forward.intake import Opening, Request, RequestPart, requests
from logflow.forward.jsontext import FIRST_BYTES, JsonRequests, json_ack
from logflow.forward.reader import FrameReader, Slab
from logflow.forward.shared import ReceiverContext
from logflow.net.turns import Turn
from logflow.receipt import Receipt, all_of

_INLINE_BYTES = {"native": 2 * 1024 * 1024, "python": 64 * 1024}
"""Requests above this are opened in a thread: below it, an engine takes less time than the way to a thread
and back, and in no case more than 10 ms or so."""
_MOST_SLABS = 2
"""Reading pauses while so many wait to be handled."""
_FRAME_BYTES = 400
"""Memory of one frame that was found, beside its bytes."""
_FEW_FRAMES = 16
"""Frames that are looked for at once where memory is tight."""
_SMALL_BYTES = 4 * 1024
"""What a request of this size becomes is so little that the number of connections bounds it."""
_ANSWER_BYTES = 600
"""Memory of one answer that waits."""
_SILENCE_S = 1.0
_PATIENCE_S = 2.0
_SLOW_BYTES_PER_S = 64 * 1024
"""A frame gives way to those who wait for memory if nothing of it came for a while, or it came slowly."""
_SLOWEST_BYTES_PER_S = 1024
_PRESSED_S = 10.0
"""Silence of a client that has sent nothing yet, or not finished the handshake, when places are short."""
_SCAN_SHARE = 4
"""A begun frame that must be walked again takes at most one part in five of the time."""


class Receiver(asyncio.BufferedProtocol):
    """One client's connection."""

    def __init__(self, shared: ReceiverContext) -> None:
        self._shared = shared
        self._reader = FrameReader(shared.engine.scan_frames, shared.limits.max_frame, shared.pool)
        self._json: JsonRequests | None = None
        self._acks = AckQueue(self._answer, self._wake)
        self._answers: list[bytes] = []
        self._alone = False
        self._handshake = ServerHandshake(shared.secrets) if shared.secrets else None
        self._transport: asyncio.Transport | None = None
        self._slabs: deque[Slab] = deque()
        self._slab_bytes = 0
        self._lease = shared.reading.lease()
        self._problem: MalformedData | None = None
        self._worker: asyncio.Task[None] | None = None
        self._turn = Turn(shared.turns)
        self._rescan: asyncio.TimerHandle | None = None
        self._emitting: Request | None = None
        self._woken = asyncio.Event()
        self._writable = True
        self._silent = True
        self._ending = False
        self._address = "unix"
        self._attributes: dict[str, Any] = {}
        self._peer = b""
        self._active_s = self._frame_s = shared.clock.monotonic()

    # -- called by the transport ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet the client, or turn it away when there are too many."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        name = transport.get_extra_info("peername")
        if isinstance(name, tuple):
            self._address = name[0]
        # Not with the port: clients use many connections, and what they send belongs together.
        self._attributes = {"peer": self._address}
        self._peer = peer_identity(self._address, None)
        shared = self._shared
        if len(shared.receivers) >= shared.limits.max_connections:
            shared.connections_refused()
            self._complain("Refused a connection from {peer}: max_connections are open.")
            transport.abort()
            return
        shared.receivers.add(self)
        if self._handshake:
            transport.write(self._handshake.hello())

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - we know better
        """Where the transport puts what it receives."""
        self._reader.thrifty = self._shared.reading.tight
        return self._reader.space()

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was received."""
        self._active_s = self._shared.clock.monotonic()
        if self._ending:
            return
        if self._handshake is None:
            if not self._reader.pending:
                self._frame_s = self._active_s
            if not self._take_json(nbytes):
                self._reader.filled(nbytes)
        elif not self._shake_hands(self._handshake, bytes(self._reader.space()[:nbytes])):
            return
        self._scan()

    def eof_received(self) -> bool:
        """The client sends nothing more; its answers still go out, where the transport can do that.

        One whose request has not been admitted yet has most likely lost patience.
        """
        if self._reader.scannable:
            self._scan(force=True)
        self._ending = True
        self._check_torn()
        if self._transport is None or self._transport.get_extra_info("sslcontext") or self._waits_for_room():
            return False
        return bool(self._worker or self._slabs or self._reader.ready or len(self._acks))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - a reset is an end, too
        """The connection is gone; whole frames that nobody will send again are still handled.

        A request with an id that still waits for room is given up: the client sends it again, maybe to
        another server, and taking it here as well would double it.
        """
        self._ending = True
        self._transport = None
        self._check_torn()
        if self._waits_for_room() and self._worker is not None:
            self._worker.cancel()
        self._acks.close()
        if self._rescan:
            self._rescan.cancel()
        self._wake()
        self._close_if_done()

    def pause_writing(self) -> None:
        """The client does not read its answers: no more requests until it does."""
        self._writable = False

    def resume_writing(self) -> None:
        """The client reads again."""
        self._writable = True
        self._wake()

    # -- called by the source ---------------------------------------------------------------------

    def expire(self, now_s: float) -> None:
        """Close the connection if the client has been silent, or slow, for too long."""
        reason = self._overdue(now_s)
        if reason is None or self._transport is None:
            return
        self._shared.connections_timed_out()
        if reason:
            self._complain(f"Closed the connection from {{peer}}: {reason}.")
        self._forget()
        self._abort()

    def slowness(self, now_s: float) -> float | None:
        """How slowly a begun frame comes, in seconds per byte; ``None`` if it holds up nobody.

        Only those who hold memory without being busy, or waiting for us, can be meant.
        """
        idle = not (self._worker or self._slabs or len(self._acks) or self._lease.waits)
        pending, age_s = self._reader.pending, now_s - self._frame_s
        silent = now_s - self._active_s >= _SILENCE_S
        slow = age_s >= _PATIENCE_S and pending < _SLOW_BYTES_PER_S * age_s
        return age_s / pending if pending and idle and (silent or slow) else None

    def give_way(self) -> None:
        """Close the connection, as others wait for the memory that its begun frame takes."""
        self._shared.connections_timed_out()
        self._complain("Closed the connection from {peer}: a frame comes slowly, and others need the memory.")
        self._forget()
        self._abort()

    async def stop(self, grace_s: float) -> None:
        """Read no more, and handle what has come whole, for at most ``grace_s`` seconds.

        The connection is closed as soon as nothing is left to answer, so that the client sends no more.
        """
        self._ending = True
        self._steer()
        if self._worker is not None:
            await asyncio.wait([self._worker], timeout=grace_s)
        self._close_if_done()

    def close(self) -> None:
        """Close the connection after what was written has been sent."""
        if self._transport is not None:
            self._send_answers()
            self._transport.close()

    # -- reading ----------------------------------------------------------------------------------

    def _shake_hands(self, handshake: ServerHandshake, data: bytes) -> bool:
        """Go on with the handshake; returns whether it is over and frames may follow."""
        try:
            answer = handshake.receive(data)
        except MalformedData as error:
            self._refuse(error, self._shared.handshakes_refused)
            return False
        if not answer:
            return False
        self._send(answer)
        if handshake.refused is not None:
            problem = MalformedData(f"the handshake failed: {handshake.refused}")
            self._refuse(problem, self._shared.handshakes_refused)
            return False
        self._peer = peer_identity(self._address, handshake.client)
        self._handshake = None
        self._reader.feed(handshake.rest)
        return True

    def _take_json(self, size: int) -> bool:
        """Take what was received as JSON, if that is what the client speaks."""
        data = self._reader.space()[:size]
        if self._json is None:
            if not self._silent or self._reader.pending or data[0] not in FIRST_BYTES:
                return False
            self._json = JsonRequests()
        try:
            self._reader.feed(self._json.feed(bytes(data)))
        except MalformedData as error:
            self._problem = error
        return True

    def _scan(self, *, force: bool = False) -> None:
        """Collect whole frames, and see that they are handled."""
        if self._rescan is not None:
            self._rescan.cancel()
            self._rescan = None
        started = time.perf_counter()
        try:
            while (force or self._reader.ready) and self._may_look():
                force = False
                self._collect()
        except MalformedData as error:
            self._problem = error
        if self._problem is None and self._reader.scannable and not self._lease.waits and not self._slabs:
            delay_s = _SCAN_SHARE * (time.perf_counter() - started)
            self._rescan = asyncio.get_running_loop().call_later(delay_s, self._scan_anyway)
        if (self._slabs or self._problem) and self._worker is None:
            self._worker = self._shared.spawn(self._work())
        if self._ending and self._worker is None:
            self._check_torn()
        self._steer()
        self._close_if_done()

    def _may_look(self) -> bool:
        return self._problem is None and not self._full and self._is_granted()

    def _collect(self) -> None:
        slab = self._reader.take(self._most_frames)
        if slab is not None:
            self._slabs.append(slab)
            self._slab_bytes += _memory_of(slab)
            self._silent = False
            self._frame_s = self._active_s

    def _scan_anyway(self) -> None:
        self._rescan = None
        if not self._ending:
            self._scan(force=True)

    def _admitted(self) -> None:
        self._active_s = self._frame_s = self._shared.clock.monotonic()
        self._scan()

    def _steer(self) -> None:
        """Read on, or leave what comes in the client's socket."""
        granted = self._is_granted()
        if self._transport is None:
            return
        if self._ending or self._problem or self._full or self._reader.ready or not granted:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    @property
    def _full(self) -> bool:
        """Whether enough waits to be handled; where memory is tight, anything is enough."""
        return len(self._slabs) >= (1 if self._shared.reading.tight else _MOST_SLABS)

    @property
    def _most_frames(self) -> int:
        """How many frames to look for at once."""
        return _FEW_FRAMES if self._shared.reading.tight else MAX_FRAMES

    def _is_granted(self) -> bool:
        """Ask for what is held and for what reading on, and looking into it, will take."""
        begun = self._reader.demand
        demand = begun + self._most_frames * _FRAME_BYTES if begun else 0
        # Answers are counted by 64, so that small requests do not ask anew one by one.
        demand += self._slab_bytes + _ANSWER_BYTES * (len(self._acks) & ~63)
        return self._lease.resize(demand, self._admitted)

    def _check_torn(self) -> None:
        """Nothing more comes: say so if that is in the middle of a frame, once whole ones are handled."""
        if self._reader.ready or self._slabs:
            return
        if self._reader.pending and not self._problem:
            self._shared.frames_rejected()
            size = self._reader.pending
            self._complain(f"The connection from {{peer}} ended within a frame, after {size:,} bytes of it.")
        self._release()

    # -- handling ---------------------------------------------------------------------------------

    async def _work(self) -> None:
        try:
            await self._turn.begin()
            while self._slabs:
                slab = self._slabs.popleft()
                self._steer()
                self._alone = len(slab.frames) == 1
                try:
                    await self._handle(slab)
                finally:
                    self._alone = False
                    self._slab_bytes -= _memory_of(slab)
                if slab.last:
                    self._shared.pool.give(slab.buffer)
                del slab  # nothing of it is held while others have their turn
                self._scan()
                if self._slabs:
                    await self._turn.go_on()
            if self._problem is not None:
                raise self._problem
        except MalformedData as error:
            self._refuse(error, self._shared.frames_rejected)
        except Exception as error:
            self._shared.complain.fault(
                f"Handling what {self._address} sent failed, and its connection is closed: "
                f"internal error: {error!r}.", self._address,
            )  # fmt: skip
            self._forget()
            self._abort()
        finally:
            self._active_s = self._frame_s = self._shared.clock.monotonic()
            self._worker = None
            if self._ending:
                self._check_torn()
            self._close_if_done()

    async def _handle(self, slab: Slab) -> None:
        for place, request in enumerate(requests(slab.data, slab.frames)):
            if place:
                await self._turn.go_on()
            await self._wait_for_client()
            if request.option.chunk and self._transport is None:
                continue  # it will be sent again, as nobody can be told that it came
            await self._admit(request)

    async def _wait_for_client(self) -> None:
        """Wait while too many requests are open, or too many answers unread."""
        while self._transport is not None and (self._acks.full or not self._writable):
            self._woken.clear()
            await self._woken.wait()

    async def _admit(self, request: Request) -> None:
        """Emit what a request holds, and have it answered when that is safe."""
        if request.option.signal == "logs":
            receipt = await self._take(request)
        else:
            receipt = Receipt(0)
            self._shared.frames_ignored()
        if request.option.chunk and self._transport is not None:
            answer = json_ack if self._json else pack_ack
            self._acks.add(receipt, answer(request.option.chunk), request.size)

    async def _take(self, request: Request) -> Receipt:
        shared, receipts = self._shared, list[Receipt]()
        opening = Opening(
            shared.engine, request, self._peer,
            limit=shared.limits.max_frame, now_ns=shared.clock.time_ns(), groups=shared.groups,
            attributes=self._attributes,
        )  # fmt: skip
        try:
            if request.size <= _SMALL_BYTES and opening.quick:
                self._emitting = request
                if shared.emit.full(opening.tag):
                    await shared.emit.ready(opening.tag)
                await self._emit(opening, opening.next(), receipts)
            else:
                await self._take_large(request, opening, receipts)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._transport is not None or task is None or task.uncancel():
                raise
            # The client is gone, and goes without an answer.
        finally:
            self._emitting = None
        return all_of(receipts)

    async def _take_large(self, request: Request, opening: Opening, receipts: list[Receipt]) -> None:
        """Open a request part by part; what each will take is asked for before."""
        shared, lease = self._shared, self._shared.opening.lease()
        try:
            while not opening.done:
                self._emitting = request
                if shared.emit.full(opening.tag):  # wait with as little in hand as can be
                    await shared.emit.ready(opening.tag)
                if not lease.resize(opening.cost + opening.kept):
                    await lease.reach(opening.cost + opening.kept)
                self._emitting = None
                part = await self._open(opening, request.size)
                self._emitting = request
                if part is not None:
                    lease.resize(min(lease.size, len(part.batch.entries) + opening.kept))
                await self._emit(opening, part, receipts)
        finally:
            lease.release()
            self._steer()

    async def _emit(self, opening: Opening, part: RequestPart | None, receipts: list[Receipt]) -> None:
        if part is None:
            return
        if part.skipped or part.mended:
            self._shared.account(opening.tag, self._address, part)
        if part.refused is not None:
            why = f"from {self._address}: {', '.join(part.skipped)}"
            await self._shared.emit.refused(self._shared.tags.limit(part.refused), why)
        if part.batch.count:
            partials = self._shared.partials
            emit = partials.emit if opening.messages and partials is not None else self._shared.emit
            receipts.append(await emit(self._shared.tags.limit(part.batch)))

    def _waits_for_room(self) -> bool:
        """Whether a request that the client will send again waits under back-pressure right now."""
        return self._emitting is not None and bool(self._emitting.option.chunk)

    async def _open(self, opening: Opening, size: int) -> RequestPart | None:
        if opening.quick and size <= _INLINE_BYTES[self._shared.engine.name]:
            return opening.next()
        return await asyncio.get_running_loop().run_in_executor(None, opening.next)

    # -- ending -----------------------------------------------------------------------------------

    def _refuse(self, problem: MalformedData, counter: Counter) -> None:
        """Count and report what the client did wrong; close once earlier requests are answered."""
        counter()
        self._shared.complain(
            f"Refused what {self._address} sent, and closed the connection: {problem}.", self._address
        )
        self._forget()
        self._ending = True
        self._steer()
        self._close_if_done()

    def _forget(self) -> None:
        """Drop what was received and not handled yet."""
        self._slab_bytes -= sum(map(_memory_of, self._slabs))
        self._slabs.clear()
        self._release()

    def _release(self) -> None:
        """Drop a begun frame."""
        self._reader.release()
        self._is_granted()

    def _close_if_done(self) -> None:
        if not self._ending or self._worker or self._slabs or self._reader.ready:
            return
        if self._transport is None:
            self._lease.release()
            self._shared.receivers.discard(self)
        elif not len(self._acks):
            self._send_answers()
            self._transport.close()

    def _complain(self, sentence: str) -> None:
        self._shared.complain(sentence.replace("{peer}", self._address), self._address)

    def _abort(self) -> None:
        self._ending = True
        if self._transport is not None:
            self._transport.abort()

    def _answer(self, answer: bytes) -> None:
        """Send an answer, together with others of the same turn of the event loop if there may be some."""
        if self._alone and not self._answers:
            self._send(answer)
            return
        if not self._answers:
            asyncio.get_running_loop().call_soon(self._send_answers)
        self._answers.append(answer)

    def _send_answers(self) -> None:
        if self._answers:
            answers, self._answers = self._answers, []
            self._send(b"".join(answers))

    def _send(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _wake(self) -> None:
        self._woken.set()
        self._close_if_done()

    def _overdue(self, now_s: float) -> str | None:
        """Why the connection must go: a sentence, or nothing to say when it was merely idle."""
        shared, limits = self._shared, self._shared.limits
        if self._lease.waits or self._worker or self._slabs or len(self._acks):
            return None
        if self._handshake:
            late = now_s - self._frame_s > (_PRESSED_S if shared.crowded else limits.read_timeout_s)
            return "it did not finish the handshake in time" if late else None
        if pending := self._reader.pending:
            if now_s - self._active_s > limits.read_timeout_s:
                return f"nothing came for {limits.read_timeout_s:g} s in the middle of a frame"
            if now_s - self._frame_s > limits.read_timeout_s + pending / _SLOWEST_BYTES_PER_S:
                return "a frame comes too slowly"
            return None
        # Who has sent nothing yet makes room for others when places are short.
        pressed = self._silent and shared.crowded
        silence_s = min(limits.idle_timeout_s, _PRESSED_S) if pressed else limits.idle_timeout_s
        return "" if now_s - self._active_s > silence_s else None


def _memory_of(slab: Slab) -> int:
    return len(slab.buffer) + _FRAME_BYTES * len(slab.frames)
