"""What a component wants to find again after a restart: a small dict, saved with the positions."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from logflow.storage.checkpoints import Checkpoints

_STREAM = "state"


class State(MutableMapping[str, Any]):
    """The state of one component: a dict of plain values (what msgpack can hold), a few KiB at most.

    Each change is recorded with the whole dict, and written together with the positions several times a
    second: what a ``kill -9`` takes of it is at most as old as that. Several changes at once cost one
    record with :meth:`replace`.
    """

    def __init__(self, checkpoints: Checkpoints, kind: str, name: str) -> None:
        """Find the state of the component ``name``; another kind may have one of the same name."""
        self._checkpoints = checkpoints
        self._owner = f"{kind}/{name}"

    def replace(self, values: dict[str, Any]) -> None:
        """Put ``values`` in the place of everything there is."""
        self._checkpoints.save(self._owner, _STREAM, {"offset": 0, "values": dict(values)})

    def _values(self) -> dict[str, Any]:
        values: dict[str, Any] = self._checkpoints.streams(self._owner).get(_STREAM, {}).get("values", {})
        return dict(values)

    def __getitem__(self, key: str) -> Any:
        return self._values()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.replace({**self._values(), key: value})

    def __delitem__(self, key: str) -> None:
        values = self._values()
        del values[key]
        self.replace(values)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values())

    def __len__(self) -> int:
        return len(self._values())
