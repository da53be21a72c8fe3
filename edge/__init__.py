"""Edge Voice: voice access control that never sends a voice anywhere.

The names below are the public Python interface, on NumPy arrays; each is loaded when it is first
used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge.audio.files import Recording, read_audio
    from edge.audio.utterance import utterance_of
    from edge.config import Config, load_config
    from edge.errors import EdgeVoiceError, EnrollmentRejected
    from edge.recognition import Engine, Identification, Verification
    from edge.recognition.turns import Turn, turns
    from edge.store import ProfileStore, open_store
    from edge.types import Profile, ProfileKind, Utterance

__version__ = "0.2.0"

_HOMES = {
    "Config": "edge.config",
    "EdgeVoiceError": "edge.errors",
    "Engine": "edge.recognition",
    "EnrollmentRejected": "edge.errors",
    "Identification": "edge.recognition",
    "Profile": "edge.types",
    "ProfileKind": "edge.types",
    "ProfileStore": "edge.store",
    "Recording": "edge.audio.files",
    "Turn": "edge.recognition.turns",
    "Utterance": "edge.types",
    "Verification": "edge.recognition",
    "load_config": "edge.config",
    "open_store": "edge.store",
    "read_audio": "edge.audio.files",
    "turns": "edge.recognition.turns",
    "utterance_of": "edge.audio.utterance",
}

__all__ = [
    "Config",
    "EdgeVoiceError",
    "Engine",
    "EnrollmentRejected",
    "Identification",
    "Profile",
    "ProfileKind",
    "ProfileStore",
    "Recording",
    "Turn",
    "Utterance",
    "Verification",
    "__version__",
    "load_config",
    "open_store",
    "read_audio",
    "turns",
    "utterance_of",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
