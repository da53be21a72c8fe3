"""Log-mel filterbanks: what the models eat."""
