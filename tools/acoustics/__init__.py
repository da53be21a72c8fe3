"""Noise, rooms and microphones at an entrance, for `tools.conditions`."""
