"""``logflow run``: what it hands to the service, and what becomes of its result."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
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

    async def serve(settings: Settings, reload: Callable[[], Settings], _admin: object) -> int:
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
    Path(valid).write_text(Path(valid).read_text() + "shutdown_timeout: 2s\n")
    assert reload().shutdown_timeout == 2
    Path(valid).write_text("shutdown_timeout: x\n")
    with pytest.raises(ConfigError):
        reload()


def test_several_files_are_given_in_one_option_or_in_several(
    valid: str, served: list[tuple[Settings, Callable[[], Settings]]]
) -> None:
    Path("b.yaml").write_text("shutdown_timeout: 2s\n")
    Path("c.yaml").write_text("shutdown_timeout: 3s\n")
    assert main(["run", "-c", valid, "b.yaml", "-c", "c.yaml"]) == 7
    assert served[0][0].shutdown_timeout == 3


def test_a_component_that_cannot_start_is_one_line(
    valid: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    served: list[tuple[Settings, Callable[[], Settings]]],
) -> None:  # fmt: skip
    async def serve(settings: Settings, reload: Callable[[], Settings], _admin: object) -> int:
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


EXEC = """
admin: {{listen: null}}
sources:
  app: {{type: exec, tag: app, command: [/bin/sh, -c, {script}]}}
  others: {{type: generate, tag: other, rate: 1}}
routes: [{{match: app, outputs: [out]}}, {{match: "**", outputs: []}}]
outputs: {{out: {{type: stdout}}}}
"""


def run_exec(config: Callable[[str], str], script: str) -> subprocess.Popen[str]:
    path = config(EXEC.format(script=json.dumps(script)))
    command = [sys.executable, "-m", "logflow", "run", "-c", path]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def messages(stdout: str) -> list[str]:
    return [json.loads(line)["message"] for line in stdout.splitlines()]


@pytest.mark.slow
def test_an_application_gets_all_signals_and_gives_its_status(config: Callable[[str], str]) -> None:
    """What it says last is delivered; nothing else that is read keeps the process."""
    script = """
        for name in HUP USR1 USR2 WINCH; do trap "echo $name" $name; done
        trap 'seq 1 1000; exit 7' TERM
        grep SigBlk /proc/$$/status | tr -d '\\t'
        while :; do sleep 0.01; done
    """
    with run_exec(config, script) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        for name in ("HUP", "USR1", "USR2", "WINCH"):
            process.send_signal(signal.Signals[f"SIG{name}"])
            lines.append(process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        stdout, stderr = process.communicate(timeout=30)
    assert messages("".join(lines)) == ["SigBlk:0000000000000000", "HUP", "USR1", "USR2", "WINCH"]
    assert messages(stdout) == [str(number) for number in range(1, 1001)]
    assert process.returncode == 7
    assert "Traceback" not in stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "status"), [("echo bye; kill -9 $$", 128 + signal.SIGKILL), ("no-such-program", 127)]
)
def test_an_application_that_ends_ends_the_process(
    config: Callable[[str], str], script: str, status: int
) -> None:
    with run_exec(config, script) as process:
        stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == status
    assert len(messages(stdout)) == 1
    assert f"ended with status {status}" in stderr


@pytest.mark.slow
def test_a_program_that_is_not_there_is_one_line_and_status_127(config: Callable[[str], str]) -> None:
    path = config(PIPE.replace("type: stdin", "type: exec, command: [/no/such/program]"))
    command = [sys.executable, "-m", "logflow", "run", "-c", path]
    ended = subprocess.run(command, text=True, capture_output=True, timeout=30, check=False)
    assert ended.returncode == 127
    assert ended.stderr.count("Cannot run /no/such/program: No such file or directory; check") == 1


@pytest.mark.slow
def test_sigterm_while_it_starts_ends_it_with_0(config: Callable[[str], str]) -> None:
    """From the first moments on, before anything is there that could take it."""
    command = [sys.executable, "-m", "logflow", "run", "-c", config(PIPE)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        while not held_back(process.pid, signal.SIGTERM):
            assert process.poll() is None
            time.sleep(0.001)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def held_back(pid: int, number: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    blocked = next(line for line in status.splitlines() if line.startswith("SigBlk"))
    return bool(int(blocked.split()[1], 16) >> (number - 1) & 1)
