"""Setting up a device: the answers, the files written from them, and the service."""
