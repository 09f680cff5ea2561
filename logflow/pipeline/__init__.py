"""Everything put together: router, flusher, retry, and the service that runs them."""
