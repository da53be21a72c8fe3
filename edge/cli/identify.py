"""`edge-voice identify`: who is speaking, if it is anyone of a group."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.cli import options
from edge.cli.output import complain, flush, quality_line, show, show_json, speaker_line
from edge.cli.prompts import say
from edge.errors import EXIT_OK, EXIT_REJECTED, InputError, ProfileError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from edge.audio.sources import Source
    from edge.config import Config
    from edge.recognition.engine import Engine
    from edge.recognition.results import Identification
    from edge.recognition.turns import Turn
    from edge.store import ProfileStore
    from edge.types import Profile

HELP = "tell which person in a group is speaking, in a recording or at the microphone"

_SHOWN = 10
_LONGEST_S = 3600.0
"""Longest recording with turns; through a pipe it may be of any length."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what it takes."""
    parser.description = (
        "Tells who is speaking, whatever is said. Exit code 0 if it is someone in the group, 1 if"
        " not; with --turns, 0 if anyone of the group spoke."
    )
    parser.add_argument(
        "--group",
        metavar="NAME,NAME,...",
        help="who it may be, names or ids (default: everyone enrolled)",
    )
    parser.add_argument(
        "--turns",
        action="store_true",
        help="tell who speaks when, in a long recording or until Ctrl-C; with --json each turn is a"
        " line of JSON",
    )
    parser.add_argument(
        "--rttm",
        metavar="FILE",
        type=Path,
        help="also write the turns to a file in the format RTTM; implies --turns",
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
    if args.turns or args.rttm is not None:
        return _tell_turns(engine, group, config, args)
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


def _tell_turns(
    engine: Engine, group: Sequence[Profile], config: Config, args: argparse.Namespace
) -> int:
    """Print each turn once it is over; the totals at the end, also after Ctrl-C."""
    from edge.recognition.turns import turns

    over: list[Turn] = []
    with _listening(args, config) as source, _interruptible(args.file is None):
        for turn in turns(engine, group, source.blocks(), config.audio.end_silence_s):
            if turn.over:
                over.append(turn)
                if args.json:
                    show_json(_turn_dict(turn))
                else:
                    show(_turn_line(turn))
                flush()
    if args.rttm is not None:
        _write(args.rttm, "".join(rttm_lines(args.file.stem if args.file else "live", over)))
    if not args.json:
        _show_totals(over)
    return EXIT_OK if any(turn.speaker for turn in over) else EXIT_REJECTED


@contextlib.contextmanager
def _listening(args: argparse.Namespace, config: Config) -> Iterator[Source]:
    from edge.audio.microphone import live_source
    from edge.cli.run import input_source
    from edge.installation.service import paused

    if args.file is not None:
        with input_source(str(args.file), longest_s=_LONGEST_S) as source:
            yield source
        return
    audio = config.audio
    command = audio.source if args.device is None else None
    with (
        paused(say, config.state_path),
        live_source(command, args.device or audio.device, audio.ring_s) as microphone,
    ):
        say(f"Microphone: {microphone.name}. Ctrl-C ends.")
        yield microphone


@contextlib.contextmanager
def _interruptible(live: bool) -> Iterator[None]:
    """At a microphone, Ctrl-C is how it ends."""
    try:
        yield
    except KeyboardInterrupt:
        if not live:
            raise


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, "utf-8")
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}; name another file") from None


def rttm_lines(recording: str, turns: Iterable[Turn]) -> Iterator[str]:
    """Turns in the format RTTM (NIST, Rich Transcription 2009): no field has a space in it."""
    for turn in turns:
        name = turn.speaker.name if turn.speaker else "unknown"
        words = ("_".join(text.split()) for text in (recording, name))
        file, speaker = words
        length_s = turn.end_s - turn.start_s
        yield (
            f"SPEAKER {file} 1 {turn.start_s:.3f} {length_s:.3f} <NA> <NA> {speaker} <NA> <NA>\n"
        )


def _turn_dict(turn: Turn) -> dict[str, Any]:
    from edge.recognition.results import speaker_dict

    return {
        "start_s": round(turn.start_s, 3),
        "end_s": round(turn.end_s, 3),
        "identified": speaker_dict(turn.speaker) if turn.speaker else None,
        "confidence": turn.confidence.value,
    }


def _turn_line(turn: Turn) -> str:
    name = f"{turn.speaker.name} ({turn.confidence.value})" if turn.speaker else "nobody known"
    return f"  {_clock(turn.start_s)} - {_clock(turn.end_s)}  {name}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60.0)
    return f"{int(minutes):3d}:{rest:04.1f}"


def _show_totals(turns: Sequence[Turn]) -> None:
    if not turns:
        show("Nobody spoke.")
        return
    totals: dict[str, float] = {}
    for turn in turns:
        name = turn.speaker.name if turn.speaker else "nobody known"
        totals[name] = totals.get(name, 0.0) + turn.end_s - turn.start_s
    every = sorted(totals.items(), key=lambda total: -total[1])
    show("In all: " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in every) + ".")
