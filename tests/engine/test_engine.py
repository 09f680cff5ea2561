"""Which engine is used, and how the native one falls back on its twin."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from logflow import __version__
from logflow.component import Parser
from logflow.engine import load_engine
from logflow.engine._adapter import NativeEngine
from logflow.engine._python import PythonEngine
from logflow.engine._python import lines as python_lines
from logflow.engine.api import Engine, Frame, Normalized, Parsed, Scanned
from logflow.errors import ComponentError, Unsupported
from logflow.packing import pack_entry
from logflow.testing import make_context

ENTRY = pack_entry(1, {"a": 1})


@pytest.fixture
def no_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("LOGFLOW_ENGINE", "LOGFLOW_REQUIRE_NATIVE"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.fixture
def not_built(no_environment: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    def missing(name: str) -> ModuleType:
        raise ImportError(f"no module {name}")

    no_environment.setattr("logflow.engine.import_module", missing)
    return no_environment


def test_python_on_demand(no_environment: pytest.MonkeyPatch) -> None:
    """By configuration, or by the environment, which wins."""
    assert load_engine("python").name == "python"
    no_environment.setenv("LOGFLOW_ENGINE", "python")
    assert load_engine("native").name == "python"


def test_auto_takes_python_where_the_native_engine_was_not_built(not_built: pytest.MonkeyPatch) -> None:
    """Without a word here; the service says which it is."""
    assert load_engine().name == "python"


def test_native_must_be_there_when_asked_for(not_built: pytest.MonkeyPatch) -> None:
    """By name, or by LOGFLOW_REQUIRE_NATIVE; the error says what to do."""
    with pytest.raises(ComponentError, match="set engine to python"):
        load_engine("native")
    not_built.setenv("LOGFLOW_REQUIRE_NATIVE", "1")
    with pytest.raises(ComponentError, match="no module"):
        load_engine("auto")
    assert load_engine("python").name == "python"


def test_unknown_engines(no_environment: pytest.MonkeyPatch) -> None:
    """The error lists the known ones."""
    with pytest.raises(ComponentError, match="auto, native or python"):
        load_engine("rust")


def test_auto_takes_the_native_engine_where_it_was_built(no_environment: pytest.MonkeyPatch) -> None:
    """Any module of that name and of this version will do here."""

    def module(name: str) -> ModuleType:
        stub = ModuleType(name)
        stub.__version__ = __version__
        return stub

    no_environment.setattr("logflow.engine.import_module", module)
    assert load_engine().name == "native"


class _Stub(ModuleType):
    """A native module that cannot do anything, or gives back what it was given."""

    def __init__(self, *, able: bool) -> None:
        super().__init__("stub")
        self.able = able

    def line_parser(self, line_format: str, parser: dict[str, Any], **options: Any) -> Any:
        self._check("lines")
        self.given = line_format, parser, options
        return self

    def grep(self, keep: Any, exclude: Any, mode: str) -> Any:
        return "grep"

    def modify(self, changes: Any, variables: Any, read_path: Any) -> Any:
        return "modify"

    def parse(self, block: bytes, carry: bytes, now_ns: int, offset: int) -> tuple[Any, ...]:
        return (b"e", 1, 2, b"c", 3, 4, 5, 6)

    def flush(self, carry: bytes, now_ns: int) -> tuple[Any, ...]:
        return (b"f", 1, 0, b"", 0, 0, 0, 0)

    def normalize(self, data: bytes, now_ns: int, limit: Any, group: Any) -> tuple[Any, ...]:
        return (data, 1, 2, {"bad_time": 3}, {}, b"g", (("bad_time", 0, 1),))

    def scan_frames(self, data: bytes, max_size: int, most: int) -> tuple[Any, ...]:
        return ([(b"t", "packed", 1, 2, -1, 3, 4)], 5, 6)

    def _check(self, what: str) -> None:
        if not self.able:
            raise Unsupported(f"cannot do {what}")


@pytest.fixture
def parser(tmp_path: Any) -> Parser:
    context = make_context(tmp_path, engine="python")
    from logflow.parsers.json import JsonParser

    return JsonParser(JsonParser.Config(), context)


def test_the_adapter_gives_named_tuples(parser: Parser) -> None:
    """And hands a description of the parser on, not the parser."""
    stub = _Stub(able=True)
    engine: Engine = NativeEngine(stub)
    lines = engine.line_parser("cri", parser, max_line=5)
    assert stub.given == (
        "cri",
        parser.native(),
        {"max_line": 5, "stream": None, "message_key": "message", "multiline": None, "offset_key": None},
    )
    assert lines.parse(b"", b"", 0) == Parsed(b"e", 1, 2, b"c", 3, 4, 5, 6)
    assert lines.flush(b"", 0).entries == b"f"
    normal = engine.normalize(b"x", 0)
    assert normal == Normalized(b"x", 1, 2, {"bad_time": 3}, {}, b"g", (("bad_time", 0, 1),))
    assert engine.scan_frames(b"", 1) == Scanned([Frame(b"t", "packed", 1, 2, -1, 3, 4)], 5, 6)
    assert engine.grep([], []) == "grep"
    assert engine.modify([], {}) == "modify"


def test_what_the_native_engine_cannot_do_the_twin_does(parser: Parser) -> None:
    """Each reason is kept once, for ``logflow check``."""
    engine = NativeEngine(_Stub(able=False))
    for _ in range(2):
        lines = engine.line_parser("plain", parser, max_line=5)
        assert isinstance(lines, python_lines.PythonLineParser)
    assert engine.fallbacks == ["cannot do lines"]


def test_third_party_parsers_run_in_python(parser: Parser) -> None:
    """They say so themselves; the native module is not asked."""

    class Mine(type(parser)):  # type: ignore[misc]
        native = Parser.native

    engine = NativeEngine(_Stub(able=True))
    lines = engine.line_parser("plain", Mine(parser.config, parser.context), max_line=5)
    assert isinstance(lines, python_lines.PythonLineParser)
    assert engine.fallbacks == ["parser 'json' is written in Python"]


def test_a_parser_that_raises_costs_its_lines_nothing(parser: Parser) -> None:
    """It must not; if it does, the lines are kept as text."""

    class Broken(type(parser)):  # type: ignore[misc]
        def parse(self, line: bytes) -> Any:
            if b"bad" in line:
                raise RuntimeError("broken")
            return None, {"ok": True}

        parse_many = Parser.parse_many

    lines = PythonEngine().line_parser("plain", Broken(parser.config, parser.context), max_line=50)
    parsed = lines.parse(b"good\nbad\ngood\n", b"", 1)
    assert (parsed.events, parsed.unparsed) == (3, 1)
