"""How the home is told."""
