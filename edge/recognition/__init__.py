"""Recognizes who speaks and what is said: enrollment, verification, identification."""

from edge.recognition.embedders import Models, open_models
from edge.recognition.engine import Engine
from edge.recognition.results import Analysis, Identification, Verification

__all__ = ["Analysis", "Engine", "Identification", "Models", "Verification", "open_models"]
