"""Training of the phrase model: its speech, its noise and rooms, its network."""
