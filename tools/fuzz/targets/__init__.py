"""What is fed with arbitrary bytes: a function that returns, or shows a fault by what it raises."""

from __future__ import annotations

from tools.fuzz.targets import http, peers, records, stored, streams
from tools.fuzz.targets.base import Target

TARGETS: dict[str, Target] = {
    target.name: target for module in (http, peers, records, stored, streams) for target in module.TARGETS
}
"""By name."""
