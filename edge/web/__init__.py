"""What the HTTP server's interfaces share: keys, limits, the recognizer, TLS."""
