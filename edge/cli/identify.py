"""`edge-voice identify`: who is speaking, if it is anyone of a group."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from edge.cli import options
from edge.cli.output import complain, quality_line, show, show_json, speaker_line
from edge.errors import EXIT_OK, EXIT_REJECTED, ProfileError

if TYPE_CHECKING:
    from edge.config import Config
    from edge.recognition.engine import Engine
    from edge.recognition.results import Identification
    from edge.store import ProfileStore
    from edge.types import Profile

HELP = "tell which person in a group is speaking, in a recording or at the microphone"

_SHOWN = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what it takes."""
    parser.description = (
        "Tells who is speaking, whatever is said. Exit code 0 if it is someone in the group, 1 if"
        " not."
    )
    parser.add_argument(
        "--group",
        metavar="NAME,NAME,...",
        help="who it may be, names or ids (default: everyone enrolled)",
    )
    options.add_utterance(parser)


def run(args: argparse.Namespace) -> int:
    """Identify the speaker of one utterance."""
    config = options.config_of(args)
    with options.store_of(args) as store:
        group = _named(store, args.group) if args.group is not None else None
        everybody = store.list() if group is None else []
    # From here on it is slow: the model runtime and the audio library.
    from edge.cli.utterances import one_utterance
    from edge.recognition.engine import Engine

    engine = Engine.open(config)
    if group is None:
        group = _ready(engine, everybody)
    for profile in group:
        engine.require_ready(profile)
    utterance = one_utterance(args.file, config, args, "Say a sentence.")
    result = engine.identify(group, utterance)
    if args.json:
        show_json({**result.as_dict(), "utterance_s": round(utterance.duration_s, 2)})
    else:
        _print(result, config)
    return EXIT_OK if result.accepted else EXIT_REJECTED


def _named(store: ProfileStore, names: str) -> list[Profile]:
    try:
        return [store.get(names)]  # a name may hold a comma: "Lovelace, Ada"
    except ProfileError:
        wanted = [store.get(name) for name in names.split(",") if name.strip()]
    return list({profile.id: profile for profile in wanted}.values())


def _ready(engine: Engine, profiles: list[Profile]) -> list[Profile]:
    """Those who can be recognized; the others are skipped with a warning."""
    ready = []
    for profile in profiles:
        if profile.duress_of is not None:
            continue  # a voice that is in the group already
        if profile.status.value != "enrolled":
            waits = profile.remaining <= 0
            complain(f"{profile.name} skipped: not {'confirmed' if waits else 'fully enrolled'}")
        elif not engine.fits(profile):
            complain(f"{profile.name} skipped: enrolled with another model")
        else:
            ready.append(profile)
    return ready


def _print(result: Identification, config: Config) -> None:
    from edge.audio.quality import explain

    if result.best:
        show(f"Accepted: this is {result.best.name}.")
    elif result.ranking:
        show("Rejected: none of the enrolled people.")
    else:
        show(f"Rejected: {explain(result.reason, result.quality, config.recognition)}.")
    show(f"  confidence  {result.confidence.value}")
    title: str | None = "closest"
    for match in result.ranking[:_SHOWN]:
        show(f"  {title or '':<11} {match.name}: {speaker_line(match)}")
        title = None
    show(f"  recording   {quality_line(result.quality)}")
