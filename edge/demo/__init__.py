"""`edge-voice demo`: recognition from end to end, with nothing attached."""
