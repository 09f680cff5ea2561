"""Fixtures that every test may use."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import HealthCheck, settings

from logflow.component import Parser
from logflow.engine import load_engine
from logflow.engine.api import Engine
from logflow.errors import ComponentError
from logflow.testing import build_parser, make_context

# A machine under load draws slowly; that says nothing about a test.
settings.register_profile("logflow", suppress_health_check=[HealthCheck.too_slow], deadline=None)
settings.register_profile("quick", settings.get_profile("logflow"), max_examples=15)
settings.load_profile("logflow")


@pytest.fixture(params=["python", "native"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Each engine in turn; the native one is left out where it was not built."""
    forced = os.environ.get("LOGFLOW_ENGINE")
    if forced and forced != request.param:
        pytest.skip(f"LOGFLOW_ENGINE={forced}")
    try:
        return load_engine(request.param)
    except ComponentError:
        if os.environ.get("LOGFLOW_REQUIRE_NATIVE") == "1":
            raise
        pytest.skip("the native engine was not built")


@pytest.fixture(scope="session")
def make_parser(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Parser]:
    """``make_parser("json", time_key="time")``."""
    return partial(build_parser, make_context(tmp_path_factory.mktemp("parsers"), engine="python"))


def pytest_configure() -> None:
    """Have the processes that tests start obey signals; nohup and shells start jobs with some ignored."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            handler = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, handler)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name cases of bytes by their position: compressed ones may carry the time, and differ by worker."""
    return argname if isinstance(val, bytes) else None
