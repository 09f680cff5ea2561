"""The source ``docker``, against a daemon of our own that keeps to the Engine API on a unix socket."""

from __future__ import annotations

import asyncio
import json
import struct

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from logflow.errors import MalformedData
from logflow.sources.docker import DockerSource, source
from logflow.sources.docker.frames import Frames
from logflow.storage.checkpoints import Checkpoints
from logflow.testing import Collector, make_context, run_source
from logflow.timestamps import parse_rfc3339

ID = "c" * 64


def at(second, nanos=0):
    return f"2026-03-01T10:00:{second:02d}.{nanos:09d}Z"


class Daemon:
    """Containers, what they have said, and the streams that are open."""

    def __init__(self, path):
        self.path = path
        self.containers = {}
        self.requests = []
        self._changed = asyncio.Condition()
        self._runner = None
        self._events = []

    def add(self, container=ID, *, name="/web", tty=False, labels=None, running=True):
        self.containers[container] = {
            "name": name, "tty": tty, "labels": labels or {}, "running": running, "log": [],
        }  # fmt: skip

    async def say(self, *messages, container=ID):
        """Add messages: (time, stream, text with its newline)."""
        async with self._changed:
            self.containers[container]["log"] += messages
            self._changed.notify_all()

    async def happen(self, action, container=ID):
        async with self._changed:
            self.containers[container]["running"] = action == "start"
            self._events.append({"Type": "container", "Action": action, "id": container})
            self._changed.notify_all()

    async def start(self):
        app = web.Application()
        app.router.add_get("/containers/json", self._list)
        app.router.add_get("/containers/{id}/json", self._inspect)
        app.router.add_get("/containers/{id}/logs", self._logs)
        app.router.add_get("/events", self._stream_events)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.05)
        await self._runner.setup()
        await web.UnixSite(self._runner, str(self.path)).start()

    async def stop(self):
        await self._runner.cleanup()
        self.path.unlink(missing_ok=True)

    async def _list(self, request):
        wanted = json.loads(request.query["filters"]).get("label", [])
        return web.json_response([
            {"Id": name} for name, it in self.containers.items()
            if it["running"] and all(label in it["labels"] for label in wanted)
        ])  # fmt: skip

    async def _inspect(self, request):
        it = self.containers[request.match_info["id"]]
        return web.json_response({
            "Id": request.match_info["id"], "Name": it["name"], "State": {"Running": it["running"]},
            "Config": {"Image": "web:2", "Tty": it["tty"], "Labels": it["labels"]},
        })  # fmt: skip

    async def _stream_events(self, request):
        answer = web.StreamResponse()
        await answer.prepare(request)
        seen = len(self._events)
        while True:
            async with self._changed:
                while len(self._events) == seen:
                    await self._changed.wait()
            for event in self._events[seen:]:
                await answer.write(json.dumps(event).encode() + b"\n")
            seen = len(self._events)

    async def _logs(self, request):
        since = request.query["since"]
        self.requests.append(since)
        seconds, _, nanos = since.partition(".")
        since_ns = int(seconds) * 1_000_000_000 + int(nanos or 0)
        it = self.containers[request.match_info["id"]]
        answer = web.StreamResponse()
        await answer.prepare(request)
        seen = 0
        while True:
            new, seen = it["log"][seen:], len(it["log"])
            for time, stream, text in new:
                if parse_rfc3339(time.encode()) >= since_ns:
                    await answer.write(frame(it["tty"], time, stream, text))
            if not it["running"]:
                return answer
            async with self._changed:
                if len(it["log"]) == seen and it["running"]:
                    await self._changed.wait()


def frame(tty, time, stream, text):
    message = f"{time} {text}".encode()
    if tty:
        return message.replace(b"\n", b"\r\n")
    return struct.pack(">BxxxI", {"stdout": 1, "stderr": 2}[stream], len(message)) + message


@pytest.fixture
async def daemon(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "_FIRST_BACKOFF_S", 0.01)
    monkeypatch.setattr(source, "_LONGEST_BACKOFF_S", 0.05)
    made = Daemon(tmp_path / "docker.sock")
    made.emit = Collector()
    made.checkpoints = Checkpoints(tmp_path / "checkpoints")
    made.checkpoints.open()
    made.make = lambda **options: DockerSource(
        DockerSource.Config(socket=made.path, **options), make_context(tmp_path, checkpoints=made.checkpoints)
    )
    await made.start()
    yield made
    await made.stop()
    made.checkpoints.close()


def messages(daemon):
    return [record.get("message") for record in daemon.emit.records()]


async def test_both_streams_of_a_container(daemon):
    daemon.add()
    await daemon.say((at(1), "stdout", "plain\n"), (at(2, 5), "stderr", '{"level":"error"}\n'))
    async with run_source(daemon.make(), daemon.emit):
        await daemon.emit.wait_for(2)
    first, second = daemon.emit.events()
    common = {"container_id": ID, "container_name": "web", "container_image": "web:2"}
    assert first == (parse_rfc3339(at(1).encode()), {"message": "plain", "stream": "stdout", **common})
    assert second == (parse_rfc3339(at(2, 5).encode()), {"level": "error", "stream": "stderr", **common})
    assert {batch.tag for batch in daemon.emit.batches} == {"docker.web"}


async def test_a_terminal_has_no_frames(daemon):
    daemon.add(tty=True)
    await daemon.say((at(1), "stdout", "one\n"), (at(2), "stdout", "two\n"))
    async with run_source(daemon.make(tag="t.{id}"), daemon.emit):
        await daemon.emit.wait_for(2)
    assert messages(daemon) == ["one", "two"]
    assert daemon.emit.batches[0].tag == "t." + "c" * 12


async def test_pieces_of_a_long_message_are_joined(daemon):
    daemon.add()
    await daemon.say(
        (at(1), "stdout", "a" * 16384), (at(1), "stderr", "between\n"), (at(1, 1), "stdout", "b\n")
    )
    async with run_source(daemon.make(), daemon.emit):
        await daemon.emit.wait_for(2)
    assert sorted(messages(daemon)) == ["a" * 16384 + "b", "between"]


async def test_only_containers_with_the_labels_and_those_that_start_later(daemon):
    daemon.add("a" * 64, name="/no")
    daemon.add("b" * 64, name="/yes", labels={"logs": "on"})
    await daemon.say((at(1), "stdout", "no\n"), container="a" * 64)
    await daemon.say((at(1), "stdout", "yes\n"), container="b" * 64)
    async with run_source(daemon.make(labels=["logs"]), daemon.emit):
        await daemon.emit.wait_for(1)
        daemon.add("d" * 64, name="/late", labels={"logs": "on"}, running=False)
        await daemon.happen("start", "d" * 64)
        await daemon.say((at(2), "stdout", "late\n"), container="d" * 64)
        await daemon.emit.wait_for(2)
    assert messages(daemon) == ["yes", "late"]


async def test_a_restart_goes_on_in_the_middle_of_a_nanosecond(daemon):
    daemon.add()
    await daemon.say((at(1), "stdout", "one\n"), (at(2), "stdout", "two\n"), (at(2), "stderr", "three\n"))
    async with run_source(daemon.make(), daemon.emit):
        await daemon.emit.wait_for(3)
    await daemon.say((at(2), "stdout", "four\n"), (at(3), "stdout", "five\n"))
    async with run_source(daemon.make(), daemon.emit):
        await daemon.emit.wait_for(5)
    assert messages(daemon) == ["one", "two", "three", "four", "five"]
    assert daemon.requests[1].endswith(".000000000")
    assert daemon.requests[0] == "0"


async def test_a_daemon_that_restarts_within_a_line_costs_nothing(daemon, caplog):
    daemon.add()
    await daemon.say((at(1), "stdout", "one\n"), (at(2), "stdout", "begun, "))
    async with run_source(daemon.make(), daemon.emit):
        await daemon.emit.wait_for(1)
        await daemon.stop()
        await asyncio.sleep(0.1)
        await daemon.start()
        await daemon.say((at(3), "stdout", "and ended\n"))
        await daemon.emit.wait_for(2)
    assert messages(daemon) == ["one", "begun, and ended"]
    assert caplog.text.count("docker is asked again") <= 3


async def test_a_container_that_is_started_again_goes_on(daemon):
    daemon.add()
    await daemon.say((at(1), "stdout", "first life\n"), (at(2), "stdout", "last words"))
    async with run_source(daemon.make(), daemon.emit):
        await daemon.emit.wait_for(1)
        await daemon.happen("die")
        await daemon.emit.wait_for(2)
        await daemon.happen("start")
        await daemon.say((at(3), "stdout", "second life\n"))
        await daemon.emit.wait_for(3)
    assert messages(daemon) == ["first life", "last words", "second life"]


async def test_what_is_known_of_a_container_ends_with_it(daemon):
    daemon.add()
    await daemon.say((at(1), "stdout", "one\n"))
    made = daemon.make()
    async with run_source(made, daemon.emit):
        await daemon.emit.wait_for(1)
        assert ID in made.context.state
        await daemon.happen("die")
        await daemon.happen("destroy")
        async with asyncio.timeout(5):
            while ID in made.context.state:
                await asyncio.sleep(0.01)


def test_a_bad_frame_is_no_line():
    with pytest.raises(MalformedData):
        Frames(terminal=False).feed(b"HTTP/1.1 500\r\n")
    with pytest.raises(MalformedData):
        Frames(terminal=False).feed(struct.pack(">BxxxI", 1, 1 << 30))


@given(
    st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.text("ab \n{}", max_size=20)), max_size=8),
    st.integers(1, 60),
)
def test_frames_may_be_cut_anywhere(said, size):
    data = b"".join(frame(None, at(1), stream, text) for stream, text in said)
    frames = Frames(terminal=False)
    lines = [line for start in range(0, len(data), size) for line in frames.feed(data[start : start + size])]
    assert len(lines) == len(said)
    assert all(line.count(b"\n") == 1 for line in lines)


def test_what_comes_without_a_time_is_as_old_as_the_line_before():
    """Whoever reads it finds lines whatever the daemon sends, and a place to go on from."""
    frames = Frames(terminal=True)
    lines = frames.feed(b"2026-01-31T12:00:00Z one\r\nno time\nat\nall\n")
    assert [line.split(b" ", 3)[0] for line in lines] == [b"2026-01-31T12:00:00Z"] * 4
    assert [line.split(b" ", 3)[3] for line in lines] == [b"one\n", b"no time\n", b"at\n", b"all\n"]
