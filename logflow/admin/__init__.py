"""The admin endpoint: health, readiness, metrics and status over HTTP, read from the running pipeline."""

from logflow.admin.server import AdminServer

__all__ = ["AdminServer"]
