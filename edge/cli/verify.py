"""`edge-voice verify`: is it this person, saying their phrase?"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edge.cli import options
from edge.cli.output import show, show_json
from edge.errors import EXIT_OK, EXIT_REJECTED

if TYPE_CHECKING:
    from edge.config import Config
    from edge.recognition.results import Verification
    from edge.types import Profile

NAME = "verify"
HELP = "check that a recording, or you, is somebody saying their phrase"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what it takes."""
    parser.description = (
        "Checks whether it is NAME, saying NAME's phrase. Exit code 0 when it is, 1 when not."
    )
    parser.add_argument("name", metavar="NAME", help="whom it is said to be; a name or an id")
    parser.add_argument(
        "file",
        metavar="FILE",
        nargs="?",
        type=Path,
        help="a WAV or FLAC recording, or - for standard input; without it, the microphone",
    )
    parser.add_argument("--voice", action="store_true", help="the voice alone, whatever it says")
    options.add_microphone(parser)


def run(args: argparse.Namespace) -> int:
    """Verify one utterance."""
    from edge.store import open_store
    from edge.types import ProfileKind

    config = options.config_of(args)
    with open_store(config.state_path, settings=config.store) as store:
        profile = store.get(args.name)
    # From here on it is slow: the model runtime and the audio library.
    from edge.cli.utterances import one_utterance
    from edge.recognition.engine import Engine

    engine = Engine.open(config)
    engine.require_ready(profile)
    if args.voice:
        # The same signature, asked for nothing but the voice.
        profile = replace(profile, kind=ProfileKind.VOICE, required=0.0)
    by_phrase = profile.kind is ProfileKind.PHRASE
    prompt = f"{profile.name}, say {'your passphrase' if by_phrase else 'a sentence'}."
    utterance = one_utterance(args.file, config, args, prompt)
    result = engine.verify(profile, utterance)
    if args.json:
        content = {"profile_id": profile.id, "name": profile.name, **result.as_dict()}
        show_json({**content, "utterance_s": round(utterance.duration_s, 2)})
    else:
        _print(result, profile, config)
    return EXIT_OK if result.accepted else EXIT_REJECTED


def _print(result: Verification, profile: Profile, config: Config) -> None:
    from edge.audio.quality import explain
    from edge.cli.output import phrase_line, quality_line, speaker_line

    reason = result.reason.value
    if result.accepted:
        what = f"this is {profile.name}" + (", saying their phrase" if result.phrase else "")
    else:
        what = {
            "wrong_phrase": f"the voice is {profile.name}'s, the phrase is not",
            "unknown_speaker": f"the voice is not {profile.name}'s"
            + (", the phrase is" if result.phrase else ""),
            "no_match": f"neither the voice nor the phrase is {profile.name}'s",
        }.get(reason) or explain(result.reason, result.quality, config.recognition)
    show(f"{'Accepted' if result.accepted else 'Rejected'}: {what}.")
    show(f"  confidence  {result.confidence.value}")
    if result.speaker:
        show(f"  voice       {speaker_line(result.speaker)}")
    if result.phrase:
        show(f"  phrase      {phrase_line(result.phrase)}")
    show(f"  recording   {quality_line(result.quality)}")
