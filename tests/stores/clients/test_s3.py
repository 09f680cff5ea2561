"""Output ``s3`` against a real server of the protocol."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from logflow.batch import Batch, Chunk
from logflow.errors import DeliveryError
from logflow.outputs.s3 import S3Output
from logflow.outputs.s3.store import credentials
from logflow.testing import make_context
from tools.servers.s3 import S3Server

T0 = 1_700_000_000_000_000_000  # 2023-11-14T22:13:20Z


def chunk(tag: str, *numbers: int, time_ns: int = T0) -> Chunk:
    batch = Batch.from_events(tag, [(time_ns, {"n": number}) for number in numbers])
    return Chunk(os.urandom(16), tag, (batch.entries,), len(numbers))


class Bench:
    """The output, the bucket as others see it, and faults between them."""

    def __init__(self, server: S3Server, directory: Path, **options: Any) -> None:
        from obstore.store import S3Store

        self.directory = directory
        self.options = {**server.options, "key": "{tag[0]}/%Y-%m-%d", **options}
        how = {key: value for key, value in server.options.items() if key != "bucket"}
        self.store = S3Store(server.bucket, client_options={"allow_http": True}, **how)
        self.output = self.start()

    def start(self) -> S3Output:
        """A process that begins with what the one before has noted."""
        return S3Output(S3Output.Config(**self.options), make_context(self.directory, kind="output"))

    async def restart(self) -> None:
        await self.output.close()
        self.output = self.start()
        await self.output.open()

    def objects(self) -> dict[str, bytes]:
        import obstore

        found = [meta["path"] for page in obstore.list(self.store) for meta in page]
        return {path: bytes(obstore.get(self.store, path).bytes()) for path in found}

    def numbers(self) -> list[int]:
        return sorted(
            json.loads(line)["n"]
            for body in self.objects().values()
            for line in zstandard.ZstdDecompressor().decompressobj().decompress(body).splitlines()
        )

    def fail_puts(self, *ways: str) -> None:
        """Have the next puts be lost (``before`` or ``after`` the object is made), or arrive ``late``."""
        real, left = self.output._bucket.put, list(ways)

        async def put(key: str, body: bytes, attempt: str, content_type: str) -> bool:
            way = left.pop(0) if left else ""
            if way == "late":
                self.late = (key, body, attempt, content_type)
            if way == "before" or way == "late":
                raise DeliveryError("lost on the way there")
            answer = await real(key, body, attempt, content_type)
            if way == "after":
                raise DeliveryError("lost on the way back")
            return answer

        self.output._bucket.put = put

    async def arrive_late(self) -> bool:
        """What was thought to be lost arrives after all."""
        return await type(self.output._bucket).put(self.output._bucket, *self.late)


@pytest.fixture
async def bench(s3: S3Server, tmp_path: Path):
    bench = Bench(s3, tmp_path)
    await bench.output.open()
    yield bench
    await bench.output.close()


async def test_a_group_becomes_one_object_for_each_place(bench: Bench) -> None:
    day = 86400 * 10**9
    chunks = [
        chunk("app.web", 1, 2),
        chunk("app.db", 3),
        chunk("sys.cron", 4),
        chunk("app.db", 5, time_ns=T0 + day),
    ]
    assert await bench.output.write_group(chunks) == [None] * 4
    objects = bench.objects()
    assert sorted(path.rpartition("-")[0] for path in objects) == [
        "app/2023-11-14", "app/2023-11-15", "sys/2023-11-14",
    ]  # fmt: skip
    assert all(path.endswith(".jsonl.zst") for path in objects)
    assert bench.numbers() == [1, 2, 3, 4, 5]


async def test_objects_are_parquet(s3: S3Server, tmp_path: Path) -> None:
    """Columns keep their types over objects of other hours and over restarts."""
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    bench = Bench(s3, tmp_path, format="parquet", key="{tag}/%H")
    await bench.output.open()
    first = chunk("app", 1, 2)
    await bench.output.write(first)
    await bench.restart()
    text = Batch.from_events("app", [(T0 + 3600 * 10**9, {"n": "three"})])
    await bench.output.write_group([first, Chunk(os.urandom(16), "app", (text.entries,), 1)])
    one, two = (
        parquet.read_table(arrow.BufferReader(body)).drop_columns(["@timestamp"]).to_pylist()
        for path, body in sorted(bench.objects().items())
    )
    assert [(row["@tag"], row["n"]) for row in one] == [("app", 1), ("app", 2)]
    assert [row["n_text"] for row in two] == ["three"]
    assert "n" not in two[0]


async def test_objects_are_json_lines(s3: S3Server, tmp_path: Path) -> None:
    bench = Bench(s3, tmp_path, compress="gzip")
    await bench.output.open()
    await bench.output.write(chunk("app.web", 1))
    ((path, body),) = bench.objects().items()
    assert path.endswith(".jsonl.gz")
    assert (
        gzip.decompress(body) == b'{"@timestamp":"2023-11-14T22:13:20.000000000Z","@tag":"app.web","n":1}\n'
    )


@pytest.mark.parametrize("way", ["before", "after", "late"])
@pytest.mark.parametrize("restart", [False, True])
async def test_chunks_that_come_again_in_other_company_are_there_once(
    bench: Bench, way: str, restart: bool
) -> None:
    """Whatever became of the first put, and also after a restart."""
    first, second, third = chunk("app", 1), chunk("app", 2), chunk("app", 3)
    bench.fail_puts(way)
    failed = await bench.output.write_group([first, second])
    assert [type(error) for error in failed] == [DeliveryError, DeliveryError]
    if restart:
        await bench.restart()
    assert await bench.output.write_group([second, third]) == [None, None]
    if way == "late":
        assert await bench.arrive_late() is False
    assert await bench.output.write_group([first]) == [None]
    assert bench.numbers() == [1, 2, 3]


async def test_a_chunk_that_was_stored_is_known_after_a_restart(bench: Bench) -> None:
    first = chunk("app", 1)
    await bench.output.write(first)
    await bench.restart()
    await bench.output.write(first)
    assert bench.numbers() == [1]


async def test_the_same_group_is_known_without_the_journal(bench: Bench) -> None:
    """The object's key and what it carries follow from the chunks' ids."""
    first = chunk("app", 1)
    await bench.output.write(first)
    await bench.output.close()
    (bench.directory / "objects").unlink()
    await bench.restart()
    await bench.output.write(first)
    assert bench.numbers() == [1]


async def test_a_store_that_heeds_no_condition_loses_nothing(bench: Bench) -> None:
    """An attempt after the first is a part of it, so whichever is kept, the rest comes in other objects."""
    bench.output._bucket._config = bench.output.config.model_copy(update={"conditional": False})
    first, second = chunk("app", 1), chunk("app", 2)
    bench.fail_puts("late")
    await bench.output.write_group([first, second])
    await bench.output.write(second)
    await bench.arrive_late()
    await bench.output.write(first)
    assert set(bench.numbers()) == {1, 2}


async def test_without_conditions_what_was_stored_is_still_found(s3: S3Server, tmp_path: Path) -> None:
    bench = Bench(s3, tmp_path, conditional=False)
    await bench.output.open()
    first, second = chunk("app", 1), chunk("app", 2)
    bench.fail_puts("after", "before")
    await bench.output.write_group([first, second])
    await bench.output.write_group([second])
    third = chunk("app", 3)
    assert isinstance((await bench.output.write_group([third]))[0], DeliveryError)
    assert await bench.output.write_group([first, third]) == [None, None]
    assert bench.numbers() == [1, 2, 3]


async def test_a_missing_bucket_is_held_and_said(s3: S3Server, tmp_path: Path) -> None:
    bench = Bench(s3, tmp_path, bucket="nowhere")
    await bench.output.open()
    with pytest.raises(DeliveryError, match="there is no bucket nowhere; make it"):
        await bench.output.write(chunk("app", 1))


async def test_wrong_credentials_are_held_and_said(s3: S3Server, tmp_path: Path) -> None:
    if not s3.keeps:
        pytest.skip("moto takes any credentials; versitygw does not")
    bench = Bench(s3, tmp_path, secret_access_key="wrong")
    await bench.output.open()
    with pytest.raises(DeliveryError, match="refuses these credentials") as caught:
        await bench.output.write(chunk("app", 1))
    assert "wrong" not in str(caught.value)


async def test_a_server_that_is_away_is_held_and_said(s3: S3Server, tmp_path: Path) -> None:
    bench = Bench(s3, tmp_path, endpoint="http://127.0.0.1:9")
    await bench.output.open()
    with pytest.raises(DeliveryError, match="did not take an object"):
        await bench.output.write(chunk("app", 1))


async def test_denied_conditions_are_said_with_what_to_do(bench: Bench) -> None:
    error = bench.output._bucket._undelivered(Exception("501 Not Implemented: A header you provided"))
    assert "set conditional: false" in str(error)


async def test_a_secret_in_a_file_and_a_profile_are_read_again(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("first")
    output = Bench(s3, tmp_path / "a", secret_access_key={"file": str(secret)}).output
    provider = credentials(output.config)
    assert provider()["secret_access_key"] == "first"
    secret.write_text("second one")
    assert provider()["secret_access_key"] == "second one"

    keys = tmp_path / "credentials"
    keys.write_text("[logs]\naws_access_key_id = id\naws_secret_access_key = profile%s\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(keys))
    config = S3Output.Config(bucket="b", profile="logs")
    provider = credentials(config)
    assert provider()["secret_access_key"] == "profile%s"


def test_a_hidden_library_is_missed_by_check(tmp_path: Path, monkeypatch, capsys) -> None:
    from logflow.cli.main import main

    monkeypatch.setitem(__import__("sys").modules, "obstore", None)
    config = tmp_path / "c.yaml"
    config.write_text(
        f"data_dir: {tmp_path}\nsources: {{a: {{type: stdin, tag: a}}}}\n"
        "routes: [{match: '**', outputs: [archive]}]\noutputs: {archive: {type: s3, bucket: logs}}\n"
    )
    assert main(["check", "-c", str(config)]) == 2
    warning, line = capsys.readouterr().err.splitlines()
    assert warning.startswith("warning: ")
    assert "memory" in warning
    assert "output archive (s3) needs the library obstore" in line
    assert "pip install 'logflow-pipeline[s3]'" in line


@pytest.mark.parametrize(
    "options",
    [{"key": "/logs/{tag}"}, {"key": "../{tag}"}, {"access_key_id": "a"}, {"kms_key_id": "a"},
     {"profile": "a", "access_key_id": "b", "secret_access_key": "c"}, {"endpoint": "minio:9000"}],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        S3Output.Config(bucket="b", **options)


class Store:
    """The store's documented semantics, in memory: for many short runs."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, str]] = {}
        self.late: list[tuple[str, bytes, str]] = []

    def put(self, key: str, body: bytes, attempt: str) -> bool:
        return self.objects.setdefault(key, (body, attempt)) == (body, attempt) and True


@pytest.mark.slow
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_order_of_failures_and_restarts_loses_or_doubles(  # noqa: C901
    data: st.DataObject, tmp_path: Path
) -> None:
    """Groups of any chunks, puts that are lost there, on their way back or late, and restarts between."""
    pytest.importorskip("obstore")
    directory = tmp_path / os.urandom(8).hex()
    store = Store()
    chunks = [chunk("app", number) for number in range(6)]
    waiting = set(range(6))

    async def put(key: str, body: bytes, attempt: str, _type: str) -> bool:
        way = data.draw(st.sampled_from(["", "", "before", "after", "late"]))
        if way == "late":
            store.late.append((key, body, attempt))
        if way in ("before", "late"):
            raise DeliveryError(way)
        fresh = key not in store.objects
        store.put(key, body, attempt)
        if way == "after":
            raise DeliveryError(way)
        return fresh

    async def attempt_in(key: str) -> str | None:
        if data.draw(st.integers(0, 9)) == 0:
            raise DeliveryError("no answer")
        return store.objects[key][1] if key in store.objects else None

    async def step(output: S3Output) -> None:
        group = data.draw(st.lists(st.sampled_from(sorted(waiting)), min_size=1, unique=True))
        answers = await output.write_group([chunks[number] for number in group])
        waiting.difference_update(n for n, answer in zip(group, answers, strict=True) if answer is None)
        if store.late and data.draw(st.booleans()):
            store.put(*store.late.pop())

    async def run() -> None:
        for _ in range(200):
            if not waiting:
                break
            output = S3Output(S3Output.Config(bucket="b", key="logs"), make_context(directory, kind="output"))
            output._bucket.put, output._bucket.attempt_in = put, attempt_in
            output._slots.open()
            for _ in range(data.draw(st.integers(1, 4))):
                if waiting:
                    await step(output)
            await output.close()
        for late in store.late:
            store.put(*late)

    asyncio.run(run())
    assert not waiting
    lines = [
        json.loads(line)["n"]
        for body, _ in store.objects.values()
        for line in zstandard.ZstdDecompressor().decompressobj().decompress(body).splitlines()
    ]
    assert sorted(lines) == list(range(6))
