"""`python -m edge.cli`: the same as `edge-voice`."""

from edge.cli.main import entry_point

entry_point()
