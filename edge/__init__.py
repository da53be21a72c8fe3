"""Edge Voice: voice access control that never sends a voice anywhere."""

__version__ = "0.1.0"
