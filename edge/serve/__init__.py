"""The HTTP server: its parts put together, and run."""
