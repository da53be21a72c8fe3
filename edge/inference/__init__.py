"""The only place that knows TensorFlow Lite: a model, its card, and running it."""

from edge.inference.card import ModelCard, ModelSource, TensorSpec, read_card
from edge.inference.model import Model, open_model

__all__ = ["Model", "ModelCard", "ModelSource", "TensorSpec", "open_model", "read_card"]
