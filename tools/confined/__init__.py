"""The service inside the limits of its unit, under a systemd of its own."""
