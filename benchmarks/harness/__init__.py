"""What the benchmark cases share: corpora, feeders, receivers, measurement and reports."""
