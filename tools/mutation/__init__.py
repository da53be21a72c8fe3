"""The parts of tools/mutation_test.py."""
