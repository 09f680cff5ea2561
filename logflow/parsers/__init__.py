"""Bytes to records: one module per parser."""
