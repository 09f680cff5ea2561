"""Formats of lines: those that are known by name, and the patterns that grok puts together."""

from logflow.formats.grok import GROK, expand
from logflow.formats.known import FORMATS, Format, Kind

__all__ = ["FORMATS", "GROK", "Format", "Kind", "expand"]
