"""Stores that keep to the documented semantics of real ones, for tests and torture."""
