"""The rooms put together, and run."""

from edge.service.service import Service

__all__ = ["Service"]
