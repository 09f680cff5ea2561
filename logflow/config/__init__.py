"""Configuration: models, units, loading with line numbers, messages that help."""
