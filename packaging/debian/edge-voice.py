#!/usr/bin/python3 -I
"""Starts Edge Voice from its own folder."""

import os
import sys

FOLDER = "/usr/lib/edge-voice"

sys.path.insert(0, FOLDER)
# For a Python that it starts; this one is isolated and ignores the variable.
os.environ["PYTHONPATH"] = FOLDER

from edge.cli.main import entry_point  # noqa: E402 (from the folder above)

entry_point()
