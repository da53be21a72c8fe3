"""People who talk to an assistant, in flite's voices: two who are enrolled, and two who are not."""

from __future__ import annotations

import soundfile

from edge.types import SAMPLE_RATE
from tests.integration.house import House
from tests.unit.spoken_digits import recording_of

ADA, ROBIN = "slt", "rms"
STRANGER, GRACE = "awb", "kal"
READ = (
    "the rainbow is a division of white light into many beautiful colors",
    "these take the shape of a long round arch with its path high above",
    "there is according to legend a boiling pot of gold at one end",
    "people look but no one ever finds it",
    "when a man looks for something beyond his reach",
    "his friends say he is looking for the pot of gold at the end of the rainbow",
    "throughout the centuries people have explained the rainbow in various ways",
    "some have accepted it as a miracle without physical explanation",
    "others have tried to explain the phenomenon physically",
    "the ancient greeks imagined that it was a sign from the gods to foretell war or heavy rain",
    "the norsemen considered the rainbow as a bridge",
    "the bridge over which the gods passed from earth to their home in the sky",
)
"""From the rainbow passage, which speakers have been recorded with since 1940."""


def sound_of(text: str, voice: str) -> bytes:
    """A text in a quiet room, 16-bit mono at 16 kHz."""
    return (recording_of([text], voice) * 32767).astype("<i2").tobytes()


def enroll_talkers(house: House) -> None:
    """Enroll Ada and Robin, without a passphrase."""
    for name, voice in (("Ada", ADA), ("Robin", ROBIN)):
        file = house.config.with_name(f"{voice}.flac")
        soundfile.write(file, recording_of(READ, voice), SAMPLE_RATE)
        done = house.run("enroll", name, "--voice", str(file))
        assert done.returncode == 0, done.stderr
