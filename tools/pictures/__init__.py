"""Pictures of commands: run in a terminal and drawn as SVG."""
