"""The parts of `tools.attack`, and the rows of docs/THREATS.md that every measuring tool prints."""
