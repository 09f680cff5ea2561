"""For authors of components: a context, a fake clock, an emit that collects, and conformance checks.

Everything here works without a running service, so that a component can be tested on its own.
"""

from logflow.testing.clock import FakeClock
from logflow.testing.drivers import Collector, build_parser, make_context, run_source

__all__ = ["Collector", "FakeClock", "build_parser", "make_context", "run_source"]
