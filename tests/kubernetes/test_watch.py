"""The watch, against a server that keeps to the API's semantics over real HTTPS."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest
from aiohttp import web

from logflow.kubernetes import watch as module
from logflow.kubernetes.pods import KEPT_S, Pods
from logflow.kubernetes.watch import Watch
from logflow.telemetry.metrics import Metrics
from logflow.testing import FakeClock, make_context
from tests.kubernetes.apiserver import failure, pod


class Running:
    def __init__(self, directory, access, selector="spec.nodeName=node-1"):
        self.clock, self.metrics = FakeClock(), Metrics()
        context = make_context(directory, kind="filter", clock=self.clock, metrics=self.metrics)
        self.watch = Watch(access, "/api/v1/pods", selector, Pods(), context)
        self.pods = self.watch.store

    async def __aenter__(self):
        self.task = asyncio.create_task(self.watch.run())
        return self

    async def __aexit__(self, *_):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def until(self, condition, step_s=0.0):
        """Wait for a condition; with ``step_s`` the clock goes on meanwhile."""
        async with asyncio.timeout(10):
            while not condition():
                if step_s:
                    await self.clock.advance(step_s)
                await asyncio.sleep(0.002)

    def find(self, name):
        return self.pods.find(f"uid-{name}", "shop", name)

    def counted(self, name):
        return {cell.name: cell.value for cell in self.metrics.counters()}[name]


@pytest.fixture
def running(tmp_path, access):
    return Running(tmp_path, access)


async def test_all_pages_are_listed_and_every_change_is_followed(api, running):
    for name in "abcde":
        await api.change("ADDED", pod(name))
    async with running:
        await running.until(running.watch.listed.is_set)
        assert len(running.pods) == 5
        assert len([url for url in api.requests if "continue" in url]) == 2
        await api.change("ADDED", pod("f"))
        await api.change("MODIFIED", pod("a", labels={"app": "new"}))
        await api.change("DELETED", pod("b"))
        await running.until(lambda: running.find("f") and running.find("a").metadata.labels == {"app": "new"})
    assert all("fieldSelector=spec.nodeName" in url for url in api.requests)
    assert "resourceVersion=0" in api.requests[0]


async def test_what_was_deleted_is_kept_for_a_while(api, running):
    await api.change("ADDED", pod("a"))
    async with running:
        await running.until(lambda: running.find("a"))
        await api.change("DELETED", pod("a"))
        await api.change("ADDED", pod("b"))
        await running.until(lambda: running.find("b"))
        assert running.find("a")
        await running.clock.advance(KEPT_S + 1)
        await api.change("DELETED", pod("b"))
        await running.until(lambda: not running.find("a"))
        assert running.find("b")


async def test_a_lost_connection_goes_on_from_the_last_version_without_a_list(api, running):
    await api.change("ADDED", pod("a"))
    async with running:
        await running.until(lambda: api.seen["watches"] == 1)
        await api.bookmark()
        await running.until(lambda: running.watch._version == str(api._version))
        api.cut()
        await api.change("ADDED", pod("b"))
        await running.until(lambda: running.find("b"), step_s=0.1)
    assert api.seen["lists"] == 1
    assert api.seen["watches"] == 2


async def test_after_410_there_is_a_new_list(api, running):
    await api.change("ADDED", pod("a"))
    async with running:
        await running.until(lambda: api.seen["watches"] == 1)
        await api.change("DELETED", pod("a"))
        api.compact()
        running.watch._version = "1"
        api.cut()
        await api.change("ADDED", pod("b"))
        await running.until(lambda: running.find("b"), step_s=0.1)
        assert api.seen["lists"] == 2
        relisted = [url for url in api.requests if "watch" not in url and "continue" not in url][1]
        assert "resourceVersion=0" not in relisted  # an answer at hand may be as old as what was lost


async def test_410_in_a_loop_is_asked_for_less_and_less_often(api, running, caplog):
    async def gone(request):
        if request.query.get("watch"):
            api.faults.append(gone)
            return failure(410, "gone")
        api.faults.append(gone)
        return await listed(request)

    async def listed(request):
        return web.json_response({"metadata": {"resourceVersion": "7"}, "items": []})

    api.faults.append(gone)
    with caplog.at_level(logging.WARNING):
        async with running:
            for _ in range(120):
                await running.clock.advance(1.0)
                await asyncio.sleep(0.002)
    assert 6 < len(api.requests) / 2 < 25
    assert len(caplog.messages) <= 3


@pytest.mark.parametrize(
    ("status", "text", "said"),
    [
        (403, "pods is forbidden", "give the service account the right"),
        (401, "Unauthorized", "the token is read again"),
        (500, "\x1b[31mboom", "500"),
    ],
)
async def test_a_refusal_is_said_once_and_tried_again(api, running, caplog, status, text, said):
    async def refuse(request):
        return failure(status, text)

    api.faults.extend([refuse] * 4)
    await api.change("ADDED", pod("a"))
    with caplog.at_level(logging.INFO):
        async with running:
            await running.until(lambda: running.find("a"), step_s=0.2)
            await running.until(lambda: api.seen["watches"])
            await running.until(lambda: "answers again" in caplog.text)
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert said in warnings[0].message
    assert "\x1b" not in warnings[0].message
    assert running.counted("kubernetes_api_failures") == 4


async def test_the_pause_that_429_asks_for_is_made(api, running):
    async def busy(request):
        return failure(429, "too many requests", **{"Retry-After": "40"})

    api.faults.append(busy)
    async with running:
        await running.until(lambda: len(api.requests) == 1 and running.clock.sleepers)
        await running.clock.advance(39.0)
        assert len(api.requests) == 1
        await running.clock.advance(2.0)
        await running.until(running.watch.listed.is_set)


async def test_garbage_is_no_reason_to_stop(api, running):
    async def garbage(request):
        return web.Response(body=b"\x00\xff<html>" * 1000)

    async def torn(request):
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b'{"type":"ADDED","object":{"metadata":{"uid"')
        return answer

    async def nothing(request):
        return web.json_response({"metadata": {}, "items": None})

    async def odd(request):
        events = [
            {"type": "ADDED", "object": {"metadata": {"name": "no-uid"}}},
            {"type": "MODIFIED", "object": {"metadata": {"name": "x", "uid": "x", "labels": {"a": 5}}}},
            {"type": "ADDED", "object": [1]},
            {"type": "NEW", "object": pod("odd")},
        ]
        return web.Response(body=b"\n\n".join(json.dumps(event).encode() for event in events) + b"\n")

    api.faults.extend([garbage, torn, nothing])
    await api.change("ADDED", pod("a"))
    async with running:
        await running.until(lambda: api.seen["watches"], step_s=0.2)
        api.faults.append(odd)
        api.cut()
        await running.until(lambda: running.find("odd"), step_s=0.2)
        assert running.counted("kubernetes_objects_unusable") == 3
        await api.change("ADDED", pod("b"))
        await running.until(lambda: running.find("b"), step_s=0.2)


async def test_a_silent_server_is_left(api, running, monkeypatch):
    monkeypatch.setattr(module, "_SILENCE_S", 0.1)

    async def silence(request):
        await asyncio.sleep(60)
        raise AssertionError

    api.faults.append(silence)
    await api.change("ADDED", pod("a"))
    async with running:
        await running.until(lambda: running.find("a"), step_s=0.1)


async def test_what_is_too_large_is_not_kept(api, running, monkeypatch):
    monkeypatch.setattr(module, "_LINE_BYTES", 200_000)

    async def endless(request):
        answer = web.StreamResponse()
        await answer.prepare(request)
        for _ in range(100):
            await answer.write(b"x" * 100_000)
        return answer

    await api.change("ADDED", pod("a"))
    async with running:
        await running.until(lambda: api.seen["watches"])
        api.faults.append(endless)
        api.cut()
        await running.until(lambda: api.seen["lists"] == 2, step_s=0.2)


async def test_text_that_is_not_utf8_is_escaped(api, running):
    async def bad(request):
        event = json.dumps({"type": "ADDED", "object": pod("bad", labels={"a": "caf?"})})
        return web.Response(body=event.encode().replace(b"caf?", b"caf\xe9") + b"\n")

    async with running:
        await running.until(lambda: api.seen["watches"])
        api.faults.append(bad)
        api.cut()
        await running.until(lambda: running.find("bad"), step_s=0.2)
        assert running.find("bad").metadata.labels == {"a": "caf\\xe9"}


async def test_a_token_that_was_rotated_is_read_again(api, running, token):
    await api.change("ADDED", pod("a"))
    async with running:
        await running.until(lambda: api.seen["watches"] == 1)
        token.write_text("second")
        api.cut()
        await api.change("ADDED", pod("b"))
        await running.until(lambda: running.find("b"), step_s=0.2)


async def test_a_server_with_another_certificate_is_not_trusted(api, tmp_path, access):
    elsewhere = Running(tmp_path, access.__class__(api.url, token=access.token))
    async with elsewhere:
        await elsewhere.until(lambda: elsewhere.counted("kubernetes_api_failures"))
    assert not api.requests


async def test_a_slow_stream_is_followed_event_by_event(api, running):
    async def slow(request):
        answer = web.StreamResponse()
        await answer.prepare(request)
        line = json.dumps({"type": "ADDED", "object": pod("slow")}).encode() + b"\n"
        for start in range(0, len(line), 50):
            await answer.write(line[start : start + 50])
            await asyncio.sleep(0)
        await asyncio.sleep(60)
        return answer

    async with running:
        await running.until(lambda: api.seen["watches"])
        api.faults.append(slow)
        api.cut()
        await running.until(lambda: running.find("slow"), step_s=0.2)
