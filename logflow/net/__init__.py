"""What components that talk over the network share: listening, and later clients of HTTP."""
