"""`edge-voice enroll`: learn a voice, with the phrase that it opens with."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from edge.cli import options
from edge.cli.auditing import audited
from edge.cli.output import complain, show, show_json
from edge.errors import EXIT_INPUT, EXIT_OK, EnrolmentRejected, InputError

if TYPE_CHECKING:
    from edge.cli.display import Display
    from edge.config import Config
    from edge.enrolment.process import Enrolment
    from edge.recognition.engine import Engine
    from edge.types import Profile

NAME = "enroll"
HELP = "enrol somebody, from the microphone or from recordings"

_LONGEST_FREE_SPEECH_S = 30.0
_HINT_AFTER_REFUSALS = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what it takes."""
    parser.description = (
        "Enrols somebody: by default with a passphrase of their own choice, in any language, said"
        " at least three times; each must match the first in phrase and in voice. An enrolment that"
        " was interrupted is continued. Only numbers made from the voice are kept, no recording."
    )
    parser.add_argument("name", metavar="NAME", help="whom; new, or not complete yet")
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="*",
        type=Path,
        help="WAV or FLAC recordings, each one repetition (with --voice: free speech); without any,"
        " the microphone is used",
    )
    parser.add_argument(
        "--phrase", metavar="TEXT", help="the phrase in writing, only shown, never checked"
    )
    parser.add_argument(
        "--voice", action="store_true", help="enrol the voice alone, by half a minute of any speech"
    )
    parser.add_argument(
        "--short", action="store_true", help="with --voice: one second is enough, to try it out"
    )
    parser.add_argument(
        "--again",
        action="store_true",
        help="replace a signature; the old one stands until the new one is complete",
    )
    parser.add_argument(
        "--duress",
        action="store_true",
        help="enrol a second phrase for somebody who is enrolled: it opens as usual, and raises a"
        " silent alarm",
    )
    digits = parser.add_argument_group("the digits of the challenge")
    digits.add_argument(
        "--digits",
        action="store_true",
        help="enrol how somebody with a passphrase says 0 to 9, in any language",
    )
    digits.add_argument(
        "--rounds", metavar="N", type=int, help="say each digit so often, 3 to 5 (default: 3)"
    )
    digits.add_argument(
        "--files-from",
        metavar="FOLDER",
        type=Path,
        help="take DIGIT/*.wav or DIGIT_*.wav (or .flac) of this folder, not the microphone",
    )
    options.add_microphone(parser)


def run(args: argparse.Namespace) -> int:
    """Enrol from the files, or else guided at the microphone."""
    from edge.enrolment.process import Enrolment, Wish
    from edge.store import open_store
    from edge.types import ProfileKind

    if args.digits:
        from edge.cli import digits

        return digits.run(args)
    if args.rounds is not None or args.files_from is not None:
        raise InputError("--rounds and --files-from go with --digits")
    if args.short and not args.voice:
        raise InputError("--short goes with --voice: a passphrase is always said three times")
    if args.phrase is not None and args.voice:
        raise InputError("--phrase does not go with --voice: any speech will do there")
    if args.duress and args.voice:
        raise InputError("--duress does not go with --voice: it is a second passphrase")
    kind = ProfileKind.VOICE if args.voice else ProfileKind.PHRASE
    config = options.config_of(args)
    with open_store(config.state_path, settings=config.store) as store:
        wish = Wish(
            args.name, kind, args.phrase, short=args.short, again=args.again, duress=args.duress
        )
        enrolment = Enrolment(store, wish, config.enrolment)
        from edge.recognition.engine import Engine

        engine = Engine.open(config)
        engine.require_models(enrolment.profile)
        before = enrolment.profile.progress
        try:
            if args.files:
                results = _from_files(enrolment, engine, args.files)
            else:
                results = _from_microphone(enrolment, engine, config, args)
            enrolment.finish()
        except KeyboardInterrupt:
            if enrolment.keeps_old:
                complain(f"{enrolment.profile.name} keeps the old signature")
            elif enrolment.stored:
                complain("what was taken is kept: run it again to continue")
            raise
        finally:
            profile = enrolment.profile
            enrolment.remember(config.replay)
            if enrolment.stored and profile.progress != before:
                audited(store, config)(
                    "enrolment",
                    profile.id,
                    what="enrolled again" if args.again else "enrolled",
                    complete=enrolment.complete,
                    signature=profile.kind.value,
                )
    _tell(args, enrolment, profile, results)
    refused = any(not result["accepted"] for result in results) and bool(args.files)
    return EXIT_INPUT if refused or enrolment.keeps_old else EXIT_OK


def _from_files(enrolment: Enrolment, engine: Engine, files: list[Path]) -> list[dict[str, Any]]:
    from edge.cli.hearing import utterance_from

    results = []
    for file in files:
        fault: Optional[InputError] = None
        try:
            enrolment.add(engine, utterance_from(file))
        except EnrolmentRejected as error:
            fault = error
            complain(f"{file}: {error}", kind="refused")
        except InputError as error:
            fault = error
            complain(str(error), kind="refused")
        results.append(_result(str(file), fault))
    return results


def _from_microphone(
    enrolment: Enrolment, engine: Engine, config: Config, args: argparse.Namespace
) -> list[dict[str, Any]]:
    from edge.cli.display import Display
    from edge.cli.hearing import utterances_from_microphone

    longest_s = _LONGEST_FREE_SPEECH_S if args.voice else None
    results: list[dict[str, Any]] = []
    with Display() as display:
        display.say(_instruction(enrolment), style="bold")
        _show_progress(display, enrolment.profile)
        heard = utterances_from_microphone(
            config.audio, args.device, display, wait_s=args.wait, longest_s=longest_s
        )
        with contextlib.closing(heard):
            for utterance in heard:
                try:
                    enrolment.add(engine, utterance)
                except EnrolmentRejected as error:
                    results.append(_result("microphone", error))
                    display.say(f"Not taken: {error}.", style="yellow")
                    _hint(display, enrolment, results)
                else:
                    results.append(_result("microphone", None))
                    display.say(f"Taken: {utterance.quality.net_speech_s:.1f} s of speech.")
                    _show_progress(display, enrolment.profile)
                if enrolment.complete:
                    break
    return results


def _instruction(enrolment: Enrolment) -> str:
    profile = enrolment.profile
    if profile.kind.value == "voice":
        return f"{profile.name}, talk about anything, and pause now and then."
    times = f"{profile.remaining:.0f} times" if profile.remaining > 1 else "once more"
    unwritten = "your duress phrase" if profile.duress_of else "your passphrase"
    what = f"“{profile.phrase}”" if profile.phrase else unwritten
    return f"{profile.name}, say {what} {times}, with a pause after each."


def _show_progress(display: Display, profile: Profile) -> None:
    unit = "repetitions" if profile.kind.value == "phrase" else "seconds"
    display.progress(profile.progress, profile.required, unit)


def _hint(display: Display, enrolment: Enrolment, results: list[dict[str, Any]]) -> None:
    """If one repetition stands and others are refused, it may be the first that is wrong."""
    latest = [result["reason"] for result in results[-_HINT_AFTER_REFUSALS:]]
    unlike_first = all(reason in ("wrong_phrase", "unknown_speaker") for reason in latest)
    if len(latest) == _HINT_AFTER_REFUSALS and unlike_first and len(enrolment.profile.samples) == 1:
        display.say(
            "If it was the first one that went wrong, press Ctrl-C and start over with --again.",
            style="yellow",
        )


def _result(source: str, fault: Optional[InputError]) -> dict[str, Any]:
    reason = None
    if fault is not None:
        reason = fault.reason if isinstance(fault, EnrolmentRejected) else "unreadable"
    return {
        "source": source,
        "accepted": fault is None,
        "reason": reason,
        "message": str(fault) if fault else None,
    }


def _tell(
    args: argparse.Namespace, enrolment: Enrolment, profile: Profile, results: list[dict[str, Any]]
) -> None:
    if args.json:
        content = profile.as_dict() if profile.id else None
        show_json({"profile": content, "stored": enrolment.stored, "utterances": results})
        return
    unit = "repetition" if profile.kind.value == "phrase" else "second"
    missing = f"{profile.remaining:.3g} more {unit}{'' if profile.remaining == 1 else 's'}"
    if enrolment.keeps_old:
        show(f"{profile.name} keeps the old signature: {missing} would complete the new one.")
    elif not enrolment.stored:
        show(f"{profile.name} is not enrolled: nothing was taken.")
    elif enrolment.complete:
        show(f"{profile.name} is enrolled.")
    else:
        show(f"{profile.name} is not complete: {missing} needed. Run it again to continue.")
