"""Pictures of the commands as they really look: run in a terminal, and drawn as SVG."""
