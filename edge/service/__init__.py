"""The service: listens, decides and publishes, until it is stopped."""

from edge.service.build import build_service
from edge.service.service import Service

__all__ = ["Service", "build_service"]
