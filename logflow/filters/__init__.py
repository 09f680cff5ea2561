"""A change or a decision per event: one module per filter."""
