"""Replay detection: recordings of what the device has heard before."""
