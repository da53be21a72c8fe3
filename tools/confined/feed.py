"""Feeds the service in a fresh system: silence, and the recordings named on standard input."""

from __future__ import annotations

import sys
from pathlib import Path

from tools.confined.inside import HERE, Feeder


def main() -> None:
    """Feed until standard input ends."""
    feeder = Feeder(HERE / "sound")
    print("ready", flush=True)
    for line in sys.stdin:
        feeder.say(Path(line.strip()))


if __name__ == "__main__":
    main()
