"""Enrolling somebody, whoever asks: the command line, or a command over MQTT."""
