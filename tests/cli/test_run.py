"""``logflow run``: what it hands to the service, and what becomes of its result."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from logflow.cli.main import main
from logflow.config.models import Settings
from logflow.errors import ComponentError, ConfigError
from logflow.pipeline import service


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Settings, Callable[[], Settings]]]:
    """What was given to the service, which ends with status 7."""
    calls: list[tuple[Settings, Callable[[], Settings]]] = []

    async def serve(settings: Settings, reload: Callable[[], Settings]) -> int:
        calls.append((settings, reload))
        return 7

    monkeypatch.setattr(service, "serve", serve)
    monkeypatch.setattr("logflow.cli.logs.set_up_logging", lambda options: None)
    return calls


def test_the_status_of_the_service_is_handed_on(
    valid: str, served: list[tuple[Settings, Callable[[], Settings]]], tmp_path: Path
) -> None:
    assert main(["run", "-c", valid]) == 7
    assert served[0][0].data_dir == tmp_path / "data"


def test_a_reload_reads_the_files_again(
    valid: str, served: list[tuple[Settings, Callable[[], Settings]]], tmp_path: Path
) -> None:
    main(["run", "-c", valid])
    reload = served[0][1]
    Path(valid).write_text(Path(valid).read_text() + "workers: 2\n")
    assert reload().workers == 2
    Path(valid).write_text("workers: x\n")
    with pytest.raises(ConfigError):
        reload()


def test_several_files_are_given_in_one_option_or_in_several(
    valid: str, served: list[tuple[Settings, Callable[[], Settings]]]
) -> None:
    Path("b.yaml").write_text("workers: 2\n")
    Path("c.yaml").write_text("workers: 3\n")
    assert main(["run", "-c", valid, "b.yaml", "-c", "c.yaml"]) == 7
    assert served[0][0].workers == 3


def test_a_component_that_cannot_start_is_one_line(
    valid: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    served: list[tuple[Settings, Callable[[], Settings]]],
) -> None:  # fmt: skip
    async def serve(settings: Settings, reload: Callable[[], Settings]) -> int:
        raise ComponentError("cannot listen on 127.0.0.1:1: Permission denied; choose another port")

    monkeypatch.setattr(service, "serve", serve)
    assert main(["run", "-c", valid]) == 1
    error = capsys.readouterr().err
    assert error == "logflow: cannot listen on 127.0.0.1:1: Permission denied; choose another port\n"


PIPE = """
admin: {listen: null}
sources: {app: {type: stdin, tag: app}}
routes: [{match: "**", outputs: [out]}]
outputs: {out: {type: stdout}}
"""


@pytest.mark.slow
def test_a_real_process_delivers_and_ends_with_0_on_sigterm(config: Callable[[str], str]) -> None:
    command = [sys.executable, "-m", "logflow", "run", "-c", config(PIPE)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write("hello\n")
        process.stdin.flush()
        line = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        log = process.stderr.read()
        assert process.wait(20) == 0
    assert '"message":"hello"' in line
    assert "(engine: " in log.splitlines()[0]
    assert "Traceback" not in log
