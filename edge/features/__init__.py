"""Log-mel filterbanks: what the models eat."""

from edge.features.kaldi import log_mel, remove_mean
from edge.features.wakeword import mel_frames

__all__ = ["log_mel", "mel_frames", "remove_mean"]
