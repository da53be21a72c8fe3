"""The parts of `tools.measure_accuracy`, one module for each kind of recordings."""
