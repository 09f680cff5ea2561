"""Stages: filters that may hold events back or make more of them; one module each."""
