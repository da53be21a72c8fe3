"""Calibration from recordings: the cohort, the likelihood ratios and the operating curves."""
