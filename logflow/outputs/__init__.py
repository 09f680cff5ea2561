"""Where chunks are delivered: one module per output."""
