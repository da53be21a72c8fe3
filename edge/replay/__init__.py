"""Replay detection: recordings of utterances this device has heard before."""
