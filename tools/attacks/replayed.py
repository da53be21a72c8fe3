"""What somebody said at the door, recorded and played back to it: as it was, and altered."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from edge.recognition import Engine
from tools.attacks.guessing import Found
from tools.attacks.house import House, Voices, sound_of
from tools.attacks.rows import Attack
from tools.conditions import pink_noise
from tools.replay.distortions import Change, at_pitch, at_speed, at_tempo, chain, distortions

_SLOWER = (0.99, 0.97, 0.95)
_FASTER = (1.01, 1.03, 1.05)
_FAR = (0.88, 0.92, 1.08, 1.12)
_CENTS = (-190, -30, 30, 190)
_DEVICE = "shift, Opus, loudspeaker, hallway, noise 20 dB"


def replayed(engine: Engine, voices: Voices, attempts: int) -> Found:
    """A genuine utterance of several people that opened, and then its recording in each way."""
    ways = _ways()
    tried, opened = dict.fromkeys(ways, 0), dict.fromkeys(ways, 0)
    for speaker in voices.speakers[: max(1, attempts // 4)]:
        with tempfile.TemporaryDirectory() as folder:
            house = House(engine, Path(folder) / "state")
            house.enroll(voices.enrolled(speaker))
            genuine = sound_of(voices.said(speaker)[0].path)
            if not house.opened_by([genuine]):
                continue
            for kind, changes in ways.items():
                for number, change in enumerate(changes):
                    # Each meets a device that has heard the genuine utterance alone.
                    there = house.copied(Path(folder) / f"{kind} {number}")
                    opened[kind] += there.opened_by([change(genuine, number)])
                    tried[kind] += 1
    rows = [
        Attack(
            f"A recording of what opened here, {kind}",
            tried[kind],
            opened[kind],
            "The device knows again what it has heard.",
            "What it never heard; more than about 12 %.",
            "attack FOLDER --only replayed",
        )
        for kind in ways
    ]
    return rows, {}


def _ways() -> Mapping[str, Sequence[Change]]:
    known = {each.name: each.apply for each in distortions(pink_noise(20.0, seed=1))}
    device = known[_DEVICE]
    return {
        "as it was": (known["exact"], known["shift in time, quieter"], known["cut shorter by 0.2 s"
                      " at both ends"]),
        "1 to 5 % slower or faster": [at_speed(ratio) for ratio in (*_SLOWER, *_FASTER)],
        "8 to 12 % slower or faster": [at_speed(ratio) for ratio in _FAR],
        "30 to 190 cents lower or higher": [at_pitch(2.0 ** (cents / 1200.0)) for cents in _CENTS],
        "at another tempo, with its pitch": [at_tempo(ratio) for ratio in (0.92, 0.97, 1.05, 1.1)],
        "by a codec, a loudspeaker, a room and noise": (device,),
        "by these, 5 % slower or faster": [chain(at_speed(r), device) for r in (0.95, 1.05)],
    }  # fmt: skip
