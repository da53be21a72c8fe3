"""`edge-voice demo`: the whole way of a voice, shown with nothing attached."""
