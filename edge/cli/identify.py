"""`edge-voice identify`: who of a group speaks, or nobody of them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edge.cli import options
from edge.cli.output import complain, show, show_json
from edge.errors import EXIT_OK, EXIT_REJECTED, ProfileError

if TYPE_CHECKING:
    from edge.config import Config
    from edge.recognition.engine import Engine
    from edge.recognition.results import Identification
    from edge.store import ProfileStore
    from edge.types import Profile

NAME = "identify"
HELP = "say who of a group speaks in a recording, or at the microphone"

_SHOWN = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what it takes."""
    parser.description = (
        "Says who speaks, whatever is said: one of the group, or nobody of them. Exit code 0 when"
        " it is one of them, 1 when not."
    )
    parser.add_argument(
        "file",
        metavar="FILE",
        nargs="?",
        type=Path,
        help="a WAV or FLAC recording, or - for standard input; without it, the microphone",
    )
    parser.add_argument(
        "--group",
        metavar="NAME,NAME,...",
        help="whom it may be, names or ids; without it, everybody who is enrolled",
    )
    options.add_microphone(parser)


def run(args: argparse.Namespace) -> int:
    """Identify the speaker of one utterance."""
    from edge.store import open_store

    config = options.config_of(args)
    with open_store(config.state_path, settings=config.store) as store:
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
    """Those who can be recognized; the others must not keep everybody from it."""
    ready = []
    for profile in profiles:
        if profile.duress_of is not None:
            continue  # a voice that is in the group already
        if profile.remaining > 0:
            complain(f"{profile.name} is left out, since not enrolled yet")
        elif not engine.fits(profile):
            complain(f"{profile.name} is left out, since enrolled with another model")
        else:
            ready.append(profile)
    return ready


def _print(result: Identification, config: Config) -> None:
    from edge.audio.quality import explain
    from edge.cli.output import quality_line, speaker_line

    if result.best:
        show(f"Accepted: this is {result.best.name}.")
    elif result.ranking:
        show("Rejected: this is nobody of them.")
    else:
        show(f"Rejected: {explain(result.reason, result.quality, config.recognition)}.")
    show(f"  confidence  {result.confidence.value}")
    title: str | None = "nearest"
    for match in result.ranking[:_SHOWN]:
        show(f"  {title or '':<11} {match.name}: {speaker_line(match)}")
        title = None
    show(f"  recording   {quality_line(result.quality)}")
