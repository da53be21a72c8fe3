"""Enrolling somebody, at the command line or over MQTT."""
