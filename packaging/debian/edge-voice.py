#!/usr/bin/python3 -I
"""Edge Voice: starts the software that is in a folder of its own."""

import os
import sys

FOLDER = "/usr/lib/edge-voice"

sys.path.insert(0, FOLDER)
# For another Python that it starts; this one, isolated, reads no variable and no other folder.
os.environ["PYTHONPATH"] = FOLDER

from edge.cli.main import entry_point  # noqa: E402 (from the folder above)

entry_point()
