"""Where chunks wait between a route and an output."""
