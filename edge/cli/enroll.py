"""`edge-voice enroll`: learn a voice, with the phrase that it opens with."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from edge.cli import options
from edge.cli.asking import say
from edge.cli.auditing import audited
from edge.cli.output import complain, show, show_json
from edge.errors import EXIT_INPUT, EXIT_OK, EXIT_REJECTED, EdgeVoiceError, InputError
from edge.installation.service import paused

if TYPE_CHECKING:
    from edge.cli.guided_enroll import FromMicrophone
    from edge.cli.taking import Course, FromFiles
    from edge.config import Config
    from edge.enrolment.process import Enrolment
    from edge.recognition.engine import Engine
    from edge.store import ProfileStore

NAME = "enroll"
HELP = "enrol somebody, from the microphone or from recordings"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what it takes."""
    parser.description = (
        "Enrols somebody: by default with a passphrase of their own choice, in any language, said"
        " at least three times; each must match the first in phrase and in voice. An enrolment that"
        " was interrupted is continued. Only numbers made from the voice are kept, no recording."
        " Exit code 1 when all was taken and the trial would not open."
    )
    parser.add_argument("name", metavar="NAME", help="whom; new, or not complete yet")
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="*",
        default=[],
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
    parser.add_argument(
        "--choose-microphone",
        action="store_true",
        help="find the best microphone by speaking into all of them, though one is configured",
    )
    trial = parser.add_mutually_exclusive_group()
    trial.add_argument(
        "--trial", metavar="FILE", type=Path, help="with files: one more, judged as at the door"
    )
    trial.add_argument("--no-trial", action="store_true", help="leave out the trial at the end")


def run(args: argparse.Namespace) -> int:
    """Enrol from the files, or else guided at the microphone."""
    from edge.enrolment.process import Enrolment, Wish
    from edge.store import open_store
    from edge.types import ProfileKind

    if args.digits:
        from edge.cli import digits

        return digits.run(args)
    _refuse_what_does_not_go_together(args)
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
        with contextlib.ExitStack() as stack:
            way: FromFiles | FromMicrophone
            if args.files:
                from edge.cli.taking import FromFiles

                way = FromFiles(enrolment, engine, config, args.files, args.trial)
            else:
                stack.enter_context(paused(say))
                way = stack.enter_context(_at_microphone(enrolment, engine, config, store, args))
            _take(way, enrolment, config, store, args)
            if enrolment.complete and not args.no_trial:
                _try(way, enrolment, store)
        course = way.course
    _tell(args, enrolment, course)
    if enrolment.keeps_old or (args.files and any(not u["accepted"] for u in course.utterances)):
        return EXIT_INPUT
    return EXIT_REJECTED if course.trial is not None and not course.trial.accepted else EXIT_OK


def _refuse_what_does_not_go_together(args: argparse.Namespace) -> None:
    wrong = (
        (args.rounds is not None or args.files_from is not None)
        and "--rounds and --files-from go with --digits",
        args.short
        and not args.voice
        and "--short goes with --voice: a passphrase is always said three times",
        args.phrase is not None
        and args.voice
        and "--phrase does not go with --voice: any speech will do there",
        args.duress
        and args.voice
        and "--duress does not go with --voice: it is a second passphrase",
        args.trial is not None
        and not args.files
        and "--trial FILE goes with files: at the microphone the trial is spoken",
    )
    for message in wrong:
        if message:
            raise InputError(message)


def _at_microphone(
    enrolment: Enrolment,
    engine: Engine,
    config: Config,
    store: ProfileStore,
    args: argparse.Namespace,
) -> FromMicrophone:
    from edge.cli.choose_microphone import chosen_device
    from edge.cli.guided_enroll import FromMicrophone

    device = chosen_device(args, config, store)
    return FromMicrophone(enrolment, engine, config, args, device)


def _take(
    way: FromFiles | FromMicrophone,
    enrolment: Enrolment,
    config: Config,
    store: ProfileStore,
    args: argparse.Namespace,
) -> None:
    """Take what comes, and whatever happens keep and record what was taken."""
    before = enrolment.profile.progress
    try:
        way.take()
        enrolment.finish()
    except (KeyboardInterrupt, EdgeVoiceError) as error:
        profile = enrolment.profile
        if enrolment.keeps_old:
            complain(f"{profile.name} keeps the old signature")
        elif enrolment.stored:
            done = f"{profile.progress:.3g} of {profile.required:.3g}"
            complain(f"what was taken is kept ({done}): run it again to continue")
        elif isinstance(error, KeyboardInterrupt):
            complain("it ended before anything was taken")
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


def _try(way: FromFiles | FromMicrophone, enrolment: Enrolment, store: ProfileStore) -> None:
    try:
        way.trial(store)
    except (KeyboardInterrupt, EdgeVoiceError):
        complain(f"{enrolment.profile.name} is enrolled; only the trial is left out")
        raise


def _tell(args: argparse.Namespace, enrolment: Enrolment, course: Course) -> None:
    profile = enrolment.profile
    if args.json:
        content = profile.as_dict() if profile.id else None
        show_json({"profile": content, "stored": enrolment.stored, **course.as_dict()})
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
    if course.trial is not None:
        for line in course.trial.lines():
            show(line)
