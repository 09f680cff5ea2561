"""Where events enter: one module per source."""
