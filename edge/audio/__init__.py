"""Where sound comes from and where it is cut into utterances."""
