"""The rooms put together, and run."""

from edge.daemon.daemon import Daemon

__all__ = ["Daemon"]
