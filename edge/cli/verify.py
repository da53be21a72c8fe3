"""`edge-voice verify`: whether it is this person saying their passphrase."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from edge.cli import options
from edge.cli.output import phrase_line, quality_line, show, show_json, speaker_line
from edge.errors import EXIT_OK, EXIT_REJECTED

if TYPE_CHECKING:
    from edge.config import Config
    from edge.recognition.results import Verification
    from edge.types import Profile

HELP = "check that a recording, or you, is a person saying their passphrase"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what it takes."""
    parser.description = (
        "Checks whether it is NAME saying NAME's passphrase. Exit code 0 if it is, 1 if not."
    )
    parser.add_argument("name", metavar="NAME", help="who it should be; a name or id")
    parser.add_argument(
        "--voice", action="store_true", help="compare the voice alone, whatever is said"
    )
    options.add_utterance(parser)


def run(args: argparse.Namespace) -> int:
    """Verify one utterance."""
    from edge.types import ProfileKind

    config = options.config_of(args)
    with options.store_of(args) as store:
        profile = store.get(args.name)
    # From here on it is slow: the model runtime and the audio library.
    from edge.cli.utterances import one_utterance
    from edge.recognition.engine import Engine

    engine = Engine.open(config)
    engine.require_ready(profile)
    if args.voice:
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

    reason = result.reason.value
    if result.accepted:
        what = f"this is {profile.name}" + (" saying their passphrase" if result.phrase else "")
    else:
        what = {
            "wrong_phrase": f"{profile.name}'s voice, but another phrase",
            "unknown_speaker": f"not {profile.name}'s voice"
            + (", but the right phrase" if result.phrase else ""),
            "no_match": f"neither {profile.name}'s voice nor the right phrase",
        }.get(reason) or explain(result.reason, result.quality, config.recognition)
    show(f"{'Accepted' if result.accepted else 'Rejected'}: {what}.")
    show(f"  confidence  {result.confidence.value}")
    if result.speaker:
        show(f"  voice       {speaker_line(result.speaker)}")
    if result.phrase:
        show(f"  phrase      {phrase_line(result.phrase)}")
    show(f"  recording   {quality_line(result.quality)}")
