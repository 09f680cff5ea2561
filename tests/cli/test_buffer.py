"""``logflow buffer``: look into disk buffers, find damage, set it aside."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest

from logflow.batch import Batch
from logflow.buffers.disk import DiskBuffer
from logflow.cli.main import main
from logflow.clock import SystemClock
from logflow.config.options import BufferOptions
from logflow.receipt import Receipt
from logflow.storage.checkpoints import Checkpoints
from logflow.storage.fs import Fs
from logflow.telemetry.ledger import Account


@pytest.fixture
async def config(tmp_path: Path) -> Path:
    """A configuration whose buffer holds three batches, the first of which was delivered."""
    directory = tmp_path / "buffers" / "sink"
    buffer = DiskBuffer(
        "sink", directory, BufferOptions(type="disk"), Checkpoints(None), clock=SystemClock(),
        log=logging.getLogger("logflow.test"),
    )  # fmt: skip
    account = Account("**", "sink")
    await buffer.open(lambda _: account)
    for number in range(3):
        account.enter(2)
        batch = Batch.from_events(f"app.{number % 2}", [(1, {"n": number})] * 2)
        await buffer.put(batch, account, Receipt(1))
        if not number:
            await buffer.commit(await buffer.take())
    await buffer.close()
    path = tmp_path / "c.yaml"
    path.write_text(
        f"data_dir: {tmp_path}\nsources: {{g: {{type: generate}}}}\n"
        "routes: [{match: '**', outputs: [sink]}]\n"
        "outputs: {sink: {type: 'null', buffer: {type: disk}}}\n"
    )
    return path


def damage(config: Path) -> None:
    """Flip a bit in the events of the last batch."""
    (segment,) = (config.parent / "buffers" / "sink").glob("*.segment")
    data = bytearray(segment.read_bytes())
    data[data.rindex(b"\xa1n")] ^= 1
    segment.write_bytes(data)


def test_list_counts_what_waits(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was delivered is not counted; tags are."""
    assert main(["buffer", "list", "-c", str(config)]) == 0
    first, _, *rows = capsys.readouterr().out.splitlines()
    assert first.startswith("sink: 4 events wait")
    assert [row.split()[:2] for row in rows] == [["app.1", "2"], ["app.0", "2"]]


def test_show_decodes_the_events(config: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """Events come as JSON lines, by tag and up to a limit."""
    assert main(["buffer", "show", "-c", str(config), "--tag", "app.1", "--limit", "1"]) == 0
    lines = capsysbinary.readouterr().out.splitlines()
    assert len(lines) == 1
    assert b'"@tag":"app.1","n":1' in lines[0]


def test_verify_and_repair(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Damage is found, set aside by repair, and then gone; the rest is still there."""
    assert main(["buffer", "verify", "-c", str(config)]) == 0
    damage(config)
    assert main(["buffer", "verify", "-c", str(config)]) == 1
    assert "damaged" in capsys.readouterr().err
    assert main(["buffer", "repair", "-c", str(config)]) == 0
    assert "2 events lost" in capsys.readouterr().out
    assert main(["buffer", "verify", "-c", str(config)]) == 0
    assert main(["buffer", "list", "-c", str(config)]) == 0
    assert "sink: 2 events wait" in capsys.readouterr().out


def test_an_output_without_a_disk_buffer_is_told(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The error names the output."""
    assert main(["buffer", "list", "-c", str(config), "--output", "nope"]) == 1
    assert "no output 'nope' has a disk buffer" in capsys.readouterr().err


def test_show_reports_damage_and_goes_on(config: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """What is whole is written; the exit status says that it is not all."""
    damage(config)
    assert main(["buffer", "show", "-c", str(config)]) == 1
    printed = capfdbinary.readouterr()
    assert printed.out.count(b"\n") == 2
    assert b"2 events at byte" in printed.err


def test_repair_keeps_away_from_a_running_service(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The lock is held by whoever uses the buffer; the others may look."""
    fs = Fs()
    lock = fs.lock(config.parent / "buffers" / "sink" / "lock")
    assert main(["buffer", "repair", "-c", str(config)]) == 1
    assert "is in use; stop the service first" in capsys.readouterr().err
    assert main(["buffer", "list", "-c", str(config)]) == 0
    assert main(["buffer", "verify", "-c", str(config)]) == 0
    fs.close(lock)


def test_a_buffer_that_was_never_used_is_empty(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No directory is no error."""
    shutil.rmtree(config.parent / "buffers")
    for action in ("list", "show", "verify", "repair"):
        assert main(["buffer", action, "-c", str(config)]) == 0
    assert "sink: 0 events wait" in capsys.readouterr().out


def test_looking_changes_nothing(config: Path) -> None:
    """list, show and verify leave every byte as it is, damage included."""
    damage(config)
    directory = config.parent / "buffers" / "sink"
    before = {path: path.read_bytes() for path in directory.iterdir()}
    for action in ("list", "show", "verify"):
        main(["buffer", action, "-c", str(config)])
    assert {path: path.read_bytes() for path in directory.iterdir()} == before


def test_a_stranded_buffer_is_listed_and_moved(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The output was renamed: its buffer is named as stranded, and handed to the new one."""
    config.write_text(config.read_text().replace("sink", "renamed"))
    assert main(["buffer", "list", "-c", str(config)]) == 0
    assert "sink (stranded): 4 events wait" in capsys.readouterr().out
    assert main(["buffer", "move", "sink", "renamed", "-c", str(config)]) == 0
    assert "4 events of sink now in the buffer of renamed" in capsys.readouterr().out
    assert main(["buffer", "list", "-c", str(config)]) == 0
    output = capsys.readouterr().out
    assert "stranded" not in output
    assert "renamed: 4 events wait" in output


def test_moving_what_is_not_stranded_is_a_clear_error(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["buffer", "move", "sink", "sink", "-c", str(config)]) == 1
    assert "is not a stranded buffer" in capsys.readouterr().err
