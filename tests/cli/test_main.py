"""The frame of all commands: what is imported, what is printed, which exit status."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest

from logflow.cli.main import COMMANDS, main
from logflow.errors import ComponentError, ConfigError


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The command ``work``; tests say what it does by setting ``run``."""
    module = ModuleType("command_for_tests", "Do some work.\n\nAt once.")
    module.__spec__ = sys.__spec__
    module.add_arguments = lambda parser: parser.add_argument("--size", type=int, default=1)  # type: ignore[attr-defined]
    module.run = lambda args: args.size  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "command_for_tests", module)
    monkeypatch.setitem(COMMANDS, "work", ("command_for_tests", "do some work"))
    return module


def test_a_command_gets_its_options_and_gives_the_exit_status(command: ModuleType) -> None:
    assert main(["work"]) == 1
    assert main(["work", "--size", "7"]) == 7


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (ComponentError("the port is in use;\nuse another"), 1, "logflow: the port is in use; use another\n"),
        (
            ConfigError(["a.yaml:1: x: wrong", "a.yaml:2: y: wrong"]),
            2,
            "a.yaml:1: x: wrong\na.yaml:2: y: wrong\n",
        ),
        (FileNotFoundError(2, "No such file", "/x"), 1, "logflow: /x: No such file\n"),
        (KeyError("k"), 1, "logflow: internal error: KeyError: 'k'; --debug shows where\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_errors_are_lines_on_stderr_without_a_traceback(
    command: ModuleType, capsys: pytest.CaptureFixture[str], error: BaseException, status: int, text: str
) -> None:
    def fail(args: object) -> int:
        raise error

    command.run = fail  # type: ignore[attr-defined]
    assert main(["work"]) == status
    assert capsys.readouterr() == ("", text)


@pytest.mark.parametrize("arguments", [["--debug", "work"], ["work", "--debug"]])
def test_debug_adds_the_traceback(
    command: ModuleType, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    def fail(args: object) -> int:
        raise ComponentError("no")

    command.run = fail  # type: ignore[attr-defined]
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert "Traceback" in error
    assert error.endswith("logflow: no\n")


def test_the_help_of_a_command_is_its_module_s_docstring(
    command: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["work", "--help"])
    assert stop.value.code == 0
    assert "Do some work.\n\nAt once." in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["wrok"], ["work", "--sise", "1"], ["work", "--size", "x"]])
def test_a_wrong_command_line_exits_with_2(
    command: ModuleType, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: logflow" in capsys.readouterr().err


def test_a_command_that_is_not_installed_fails_only_when_called(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(COMMANDS, "gone", ("logflow.cli.gone", "is not there"))
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "is not there" in capsys.readouterr().out
    assert main(["gone"]) == 1
    assert capsys.readouterr().err == "logflow: the command 'gone' is not part of this installation\n"


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_version_and_help_import_no_component_and_no_large_library(option: str) -> None:
    code = (
        "import sys; from logflow.cli.main import main\n"
        "try: main([sys.argv[1]])\n"
        "except SystemExit: pass\n"
        "large = {'pydantic', 'yaml', 'aiohttp', 'asyncio', 'msgspec', 'logflow.component'}\n"
        "assert not large & sys.modules.keys(), large & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code, option], check=True, capture_output=True)


def test_a_reader_that_goes_away_is_no_error() -> None:
    """As in ``logflow check --schema | head -1``."""
    code = (
        "import sys; from types import ModuleType; from logflow.cli import main as m\n"
        "module = ModuleType('spam'); module.__spec__ = sys.__spec__; sys.modules['spam'] = module\n"
        "module.add_arguments = lambda parser: None\n"
        "def run(args):\n"
        "    for _ in range(100000): print('x' * 100)\n"
        "    return 0\n"
        "module.run = run; m.COMMANDS['spam'] = ('spam', '')\n"
        "raise SystemExit(m.main(['spam']))\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=-1, stderr=-1) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait(20) == 141
