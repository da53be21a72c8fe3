"""Keys, sealing and signing: the only place that handles secrets."""
