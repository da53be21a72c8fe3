"""Attacks the running service with real speech, and counts what it lets through and what it tells.

    python -m tools.attack FOLDER [--only PART ...] [--attempts N] [--json FILE]

FOLDER contains `same_phrase/SPEAKER/PHRASE/*`, three phrases of each that are enrolled and more
that are played, and `read_sentences/SPEAKER/*`, talk around them. Parts:

    strangers  the phrase in a stranger's voice, with nothing altered
    inside     the phrase inside other talk, in a stranger's voice and in the owner's
    talk       nothing but talk: what is counted as an attempt that is none
    spread     how many attempts a stranger has who spreads them, by the clock alone
    replayed   recordings of what opened, as they are and at another speed
    locked     what a lock-out lets out: a right voice and a wrong one, and when each is answered
    duress     what tells a duress phrase from the person's own, besides the alarm itself
    enroll     a stranger among somebody's repetitions, one recording as several, a stranger instead
    synthetic  the voices of flite and espeak-ng, where they are installed

It prints the rows of docs/THREATS.md, each with its exact interval; `--json` writes them, and more
figures, to a file. Other rows are counted by `tools.measure_accuracy --only tricks`,
`tools.measure_replay`, `tools.measure_splices` and `tools.measure_challenge`.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from edge.recognition import Engine
from tools.attacks.enrolling import enroll
from tools.attacks.guessing import Found, inside, spread, strangers, talk
from tools.attacks.house import Voices
from tools.attacks.leaks import duress, locked
from tools.attacks.replayed import replayed
from tools.attacks.rows import markdown
from tools.attacks.synthetic import synthetic

PARTS: Mapping[str, Callable[[Engine, Voices, int], Found]] = {
    "strangers": strangers,
    "inside": inside,
    "talk": talk,
    "spread": spread,
    "replayed": replayed,
    "locked": locked,
    "duress": duress,
    "enroll": enroll,
    "synthetic": synthetic,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path)
    parser.add_argument("--only", metavar="PART", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--attempts", type=int, default=24)
    parser.add_argument("--json", metavar="FILE", type=Path)
    args = parser.parse_args(arguments)
    logging.getLogger("edge").addHandler(logging.NullHandler())
    logging.getLogger("edge").propagate = False
    voices = Voices(args.folder)
    found = {}
    print(markdown(()))
    for part in args.only:
        attacks, figures = PARTS[part](Engine.open(), voices, args.attempts)
        found[part] = {"attacks": [attack.as_dict() for attack in attacks], **figures}
        for attack in attacks:
            print(attack.line(), flush=True)
    if args.json is not None:
        args.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
