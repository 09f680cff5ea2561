"""Filter ``add_peer``: adds the sender's address, and the team that a table has for its host."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from logflow.batch import Batch
from logflow.component import Context, Filter
from logflow.config.fields import NonEmpty
from logflow.config.options import FilterConfig
from logflow.errors import ComponentError


class AddPeerFilter(Filter):
    """Adds one field to all events of a batch at once, without decoding them."""

    class Config(FilterConfig):
        """Options of the filter ``add_peer``."""

        type: Literal["add_peer"] = "add_peer"
        field: NonEmpty = Field("sender", description="The field to add; a record's own is kept.")
        teams: Path | None = Field(None, description="JSON file with the team of each host.")
        example: ClassVar[dict[str, Any]] = {}

    one_to_one = True

    def __init__(self, config: AddPeerFilter.Config, context: Context) -> None:
        super().__init__(config, context)
        self._teams: dict[str, str] = {}

    async def open(self) -> None:
        """Read the table."""
        if self.config.teams is not None:
            try:
                self._teams = json.loads(self.config.teams.read_bytes())
            except (OSError, ValueError) as error:
                raise ComponentError(f"cannot read {self.config.teams}: {error}; mend the file") from error

    def apply(self, batch: Batch) -> Batch:
        """Add the field; batches of sources without peers stay as they are."""
        peer = batch.attributes.get("peer")
        if peer is None:
            return batch
        host = peer.rpartition(":")[0] or peer
        sender = {"address": host, "team": self._teams.get(host)}
        entries = self.context.engine.splice(batch.entries, {self.config.field: sender})
        return batch.with_entries(entries, batch.count)
