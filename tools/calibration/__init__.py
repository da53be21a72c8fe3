"""Calibration from recordings: what voices have in common, likelihood ratios, curves."""
