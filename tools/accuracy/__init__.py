"""What `tools.measure_accuracy` measures, a module for each kind of recordings."""
