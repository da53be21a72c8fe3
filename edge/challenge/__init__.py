"""Digit challenge: random digits after the passphrase, in the same voice, in time."""
