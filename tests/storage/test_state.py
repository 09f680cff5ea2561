"""The state of a component: found again after a restart, kept apart from that of others."""

from __future__ import annotations

from pathlib import Path

from logflow.storage.checkpoints import Checkpoints
from logflow.storage.state import State


def test_a_state_is_found_again_after_a_restart(tmp_path: Path) -> None:
    """It is saved with the positions, each component's under its kind and name."""
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.open()
    state = State(checkpoints, "filter", "ids")
    state["last"] = 7
    state.replace({"last": 8, "seen": ["a"]})
    state["more"] = True
    del state["more"]
    State(checkpoints, "output", "ids")["last"] = 1
    checkpoints.close()

    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.open()
    assert dict(State(checkpoints, "filter", "ids")) == {"last": 8, "seen": ["a"]}
    assert dict(State(checkpoints, "output", "ids")) == {"last": 1}
    assert not State(checkpoints, "filter", "other")
    checkpoints.close()


def test_what_is_read_is_a_copy() -> None:
    """A state changes by being written to, not through what was read from it."""
    state = State(Checkpoints(None), "filter", "ids")
    values = {"a": 1}
    state.replace(values)
    values["a"] = 2
    assert len(state) == 1
    assert state["a"] == 1
