"""What is counted, and how it can be seen."""
