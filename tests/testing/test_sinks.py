"""The storing sink keeps what it answered, and repeats can be told."""

from __future__ import annotations

from pathlib import Path

from aiohttp.test_utils import TestClient, TestServer

from logflow.testing.sinks import StoringSink, read_deliveries, read_requests, without_repeats


async def post(directory: Path, *requests: tuple[str, bytes]) -> None:
    """Post (key, body) to a sink of its own, one after the other."""
    async with TestClient(TestServer(StoringSink(directory).app())) as client:
        for key, body in requests:
            headers = {"Idempotency-Key": key} if key else {}
            response = await client.post("/aggregator-0", data=body, headers=headers)
            assert response.status == 200


async def test_requests_are_kept_with_their_bodies(tmp_path: Path) -> None:
    await post(tmp_path, ("a", b"1\n2\n"), ("", b""), ("b", b"3\n"))
    deliveries = list(read_deliveries([tmp_path]))
    assert [(r.key, r.path, r.lines, body) for r, body in deliveries] == [
        ("a", "/aggregator-0", 2, b"1\n2\n"),
        ("", "/aggregator-0", 0, b""),
        ("b", "/aggregator-0", 1, b"3\n"),
    ]


async def test_a_restarted_sink_goes_on_after_what_a_kill_left(tmp_path: Path) -> None:
    await post(tmp_path, ("a", b"1\n"))
    with (tmp_path / "bodies.jsonl").open("ab") as bodies:
        bodies.write(b"never answered")
    await post(tmp_path, ("b", b"2\n"))
    with (tmp_path / "requests.jsonl").open("ab") as requests:
        requests.write(b'{"received_ns":1')
    assert [body for _, body in read_deliveries([tmp_path])] == [b"1\n", b"2\n"]


async def test_repeats_are_recognised_over_several_sinks(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    await post(one, ("a", b"1\n"), ("b", b"2\n"))
    await post(two, ("a", b"1\n"), ("c", b"3\n"), ("", b"4\n"), ("", b"4\n"))
    bodies = [body for _, body in without_repeats(read_deliveries([one, two]))]
    assert bodies == [b"1\n", b"2\n", b"3\n", b"4\n", b"4\n"]


async def test_health_is_answered_and_a_sink_without_requests_is_empty(tmp_path: Path) -> None:
    async with TestClient(TestServer(StoringSink(tmp_path).app())) as client:
        assert (await client.get("/healthz")).status == 200
    assert read_requests(tmp_path) == []
    assert read_requests(tmp_path / "nothing") == []
    assert list(read_deliveries([tmp_path])) == []
