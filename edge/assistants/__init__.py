"""The server between voice assistants and their speech-to-text, in the Wyoming protocol."""
