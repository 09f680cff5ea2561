"""The source ``journald``, with a program in place of ``journalctl`` that keeps to its options."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys

import pytest

from logflow.sources.journald import JournaldSource
from logflow.sources.progress import SavedProgress
from logflow.storage.checkpoints import Checkpoints
from logflow.telemetry.metrics import Metrics
from logflow.testing import Collector, make_context, run_source

SCRIPT = """#!{python} -S
import json, os, sys, time
here = {directory!r}
with open(here + "/calls", "a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
after = next((a.split("=", 1)[1] for a in sys.argv if a.startswith("--after-cursor=")), None)
if os.path.exists(here + "/broken"):
    sys.exit("Failed to open the journal: no such thing")
shown = "--lines=0" not in sys.argv
skip = int(after.split("i=")[1], 16) if after else 0
seen = 0
while not os.path.exists(here + "/die"):
    with open(here + "/journal", "rb") as journal:
        lines = journal.read().splitlines(keepends=True)
    for line in lines[seen:]:
        if not line.endswith(b"\\n"):
            break
        seen += 1
        number = int(json.loads(line)["__CURSOR"].split("i=")[1], 16)
        if shown and number > skip:
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
    shown = True
    time.sleep(0.01)
os.unlink(here + "/die")
"""


class Journal:
    def __init__(self, directory, monkeypatch):
        self.directory, self.metrics, self.emit = directory, Metrics(), Collector()
        self.checkpoints = Checkpoints(directory / "checkpoints")
        self.checkpoints.open()
        (directory / "journal").touch()
        script = directory / "bin" / "journalctl"
        script.parent.mkdir()
        script.write_text(SCRIPT.format(python=sys.executable, directory=str(directory)))
        script.chmod(script.stat().st_mode | stat.S_IEXEC)
        monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")
        self.number = 0

    def write(self, *messages, number=None, **fields):
        with (self.directory / "journal").open("a") as file:
            for message in messages:
                self.number = number or self.number + 1
                entry = {"__CURSOR": f"s=ab;i={self.number:x}", "__REALTIME_TIMESTAMP": "1700000000123456",
                         "__MONOTONIC_TIMESTAMP": "5", "MESSAGE": message, **fields}  # fmt: skip
                file.write(json.dumps(entry) + "\n")

    def source(self, **options):
        context = make_context(self.directory, metrics=self.metrics, checkpoints=self.checkpoints)
        return JournaldSource(JournaldSource.Config(**options), context)

    def calls(self):
        return [json.loads(line) for line in (self.directory / "calls").read_text().splitlines()]

    def messages(self):
        return [record["MESSAGE"] for record in self.emit.records()]

    def counted(self, name):
        return {cell.name: cell.value for cell in self.metrics.counters()}[name]


@pytest.fixture
def journal(tmp_path, monkeypatch):
    made = Journal(tmp_path, monkeypatch)
    yield made
    made.checkpoints.close()


async def test_entries_have_their_fields_and_times(journal):
    journal.write("hello", PRIORITY="6", _SYSTEMD_UNIT="ssh.service")
    async with run_source(journal.source(), journal.emit):
        await journal.emit.wait_for(1)
    ((time, record),) = journal.emit.events()
    assert time == 1_700_000_000_123_456_000
    assert record == {"MESSAGE": "hello", "PRIORITY": "6", "_SYSTEMD_UNIT": "ssh.service"}


async def test_a_restart_goes_on_after_what_is_safe(journal):
    journal.emit._settle = False
    journal.write("one")
    async with run_source(journal.source(), journal.emit):
        await journal.emit.wait_for(1)
        journal.emit.settle_all()
        journal.write("two")
        await journal.emit.wait_for(2)
    async with run_source(journal.source(), journal.emit):  # the second was not safe
        await journal.emit.wait_for(3)
        journal.emit.settle_all()
    journal.write("three")
    async with run_source(journal.source(), journal.emit):
        await journal.emit.wait_for(4)
    assert journal.messages() == ["one", "two", "two", "three"]
    assert "--after-cursor=s=ab;i=1" in journal.calls()[1]


async def test_a_journalctl_that_ends_is_started_again_where_it_was(journal, monkeypatch, caplog):
    monkeypatch.setattr("logflow.sources.journald._FIRST_BACKOFF_S", 0.01)
    journal.write("one")
    async with run_source(journal.source(), journal.emit):
        await journal.emit.wait_for(1)
        (journal.directory / "broken").touch()
        (journal.directory / "die").touch()
        while "no such thing" not in caplog.text:
            await asyncio.sleep(0.01)
        (journal.directory / "broken").unlink()
        journal.write("two")
        await journal.emit.wait_for(2)
    assert journal.messages() == ["one", "two"]


async def test_entries_that_were_vacuumed_are_counted(journal, caplog):
    journal.write("one")
    async with run_source(journal.source(), journal.emit):
        await journal.emit.wait_for(1)
    (journal.directory / "journal").write_text("")
    journal.write("eleven", number=11)
    async with run_source(journal.source(), journal.emit):
        await journal.emit.wait_for(2)
    assert journal.counted("entries_gone") == 9
    assert "9 entries of the journal were removed" in caplog.text


async def test_options_become_those_of_journalctl(journal):
    journal.write("old")
    options = {"units": ["a.service", "b*"], "matches": ["PRIORITY=3"], "directory": "/j", "read_from": "end"}
    async with run_source(journal.source(**options), journal.emit):
        calls = journal.directory / "calls"
        while not calls.exists() or not calls.read_text().endswith("\n"):
            await asyncio.sleep(0.01)
    (call,) = journal.calls()
    assert {"--unit=a.service", "--unit=b*", "--directory=/j", "--lines=0"} <= set(call)
    assert call[-2:] == ["--", "PRIORITY=3"]


async def test_without_journalctl_it_is_said_and_tried_again(journal, monkeypatch, caplog):
    monkeypatch.setenv("PATH", "/nowhere")
    async with run_source(journal.source(), journal.emit):
        while "cannot be run" not in caplog.text:
            await asyncio.sleep(0.01)


def test_a_place_is_saved_only_when_all_before_it_is_safe():
    from logflow.receipt import Receipt

    saved = []
    progress = SavedProgress(saved.append)
    receipts = [Receipt(1) for _ in range(3)]
    for number, receipt in enumerate(receipts):
        progress.add(receipt, number)
    receipts[1].settle()
    assert saved == []
    receipts[0].settle()
    assert saved == [1]
    receipts[2].settle()
    assert saved == [1, 2]
