"""Setting up a device: what has to be known, and the files that come of it."""
