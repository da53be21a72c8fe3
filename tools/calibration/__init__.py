"""What scores mean, found from recordings: the cohort, the ratios and the operating curves."""
