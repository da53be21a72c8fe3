"""`edge-voice enroll`: enroll a voice together with the passphrase that opens."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from edge.cli import options
from edge.cli.output import complain, show, show_json
from edge.cli.prompts import say
from edge.errors import EXIT_INPUT, EXIT_OK, EXIT_REJECTED, EdgeVoiceError, InputError
from edge.installation.service import paused

if TYPE_CHECKING:
    from edge.cli.enrolling import FromFiles, FromMicrophone, Results
    from edge.config import Config
    from edge.enrollment.process import Enrollment
    from edge.store import ProfileStore

HELP = "enroll someone, from the microphone or from recordings"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what it takes."""
    parser.description = (
        "Enrolls someone, by default with a passphrase of their choice, in any language, said at"
        " least three times; each repetition must match the first in phrase and voice. An"
        " interrupted enrollment is resumed. Only numbers computed from the voice are kept, no"
        " recordings. Exit code 1 if everything was accepted but the trial would not open."
    )
    parser.add_argument("name", metavar="NAME", help="a new name, or one not fully enrolled yet")
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="*",
        default=[],
        type=Path,
        help="WAV or FLAC recordings, one repetition each (with --voice: any speech); without"
        " them, the microphone is used",
    )
    parser.add_argument(
        "--phrase", metavar="TEXT", help="the passphrase in writing, for display only"
    )
    parser.add_argument(
        "--voice",
        action="store_true",
        help="enroll the voice alone, from half a minute of speech; it is recognized, and opens"
        " nothing",
    )
    parser.add_argument(
        "--assistant",
        metavar="ID",
        help="with --voice: by reading to the satellite of this assistant, of"
        " wyoming.assistants; 'edge-voice wyoming' must run",
    )
    parser.add_argument(
        "--short", action="store_true", help="with --voice: one second is enough, for a try"
    )
    parser.add_argument(
        "--again",
        action="store_true",
        help="replace a signature; the old one stays in use until the new one is complete",
    )
    parser.add_argument(
        "--more",
        action="store_true",
        help="add to the signature of someone enrolled, such as at another microphone",
    )
    parser.add_argument(
        "--duress",
        action="store_true",
        help="enroll a second phrase for someone enrolled: it opens as usual and raises a silent"
        " alarm",
    )
    digits = parser.add_argument_group("digits for the challenge")
    digits.add_argument(
        "--digits",
        action="store_true",
        help="enroll the digits 0 to 9, in any language, for someone with a passphrase",
    )
    digits.add_argument(
        "--rounds", metavar="N", type=int, help="how often to say each digit, 3 to 5 (default: 3)"
    )
    digits.add_argument(
        "--files-from",
        metavar="FOLDER",
        type=Path,
        help="use DIGIT/*.wav or DIGIT_*.wav (or .flac) in this folder, not the microphone",
    )
    options.add_microphone(parser)
    parser.add_argument(
        "--choose-microphone",
        action="store_true",
        help="find the best microphone by speaking into all of them, even if one is configured",
    )
    trial = parser.add_mutually_exclusive_group()
    trial.add_argument(
        "--trial", metavar="FILE", type=Path, help="with files: one more, judged as at the door"
    )
    trial.add_argument("--no-trial", action="store_true", help="skip the trial at the end")


def run(args: argparse.Namespace) -> int:
    """Enroll from the files, or else guided at the microphone."""
    if args.digits:
        from edge.cli import enroll_digits

        return enroll_digits.run(args)
    if args.assistant is not None:
        from edge.cli import enroll_assistant

        return enroll_assistant.run(args)
    from edge.enrollment.process import Enrollment, EnrollmentRequest
    from edge.enrollment.same_voice import others_with_voice
    from edge.store import open_store
    from edge.types import ProfileKind

    _check_options(args)
    kind = ProfileKind.VOICE if args.voice else ProfileKind.PHRASE
    config = options.config_of(args)
    with open_store(config.state_path, settings=config.store) as store:
        request = EnrollmentRequest(
            args.name,
            kind,
            args.phrase,
            short=args.short,
            again=args.again,
            duress=args.duress,
            more=args.more,
        )
        enrollment = Enrollment(store, request, config.enrollment, config.replay)
        from edge.recognition.engine import Engine

        engine = Engine.open(config)
        engine.require_models(enrollment.profile)
        with contextlib.ExitStack() as stack:
            way: FromFiles | FromMicrophone
            if args.files:
                from edge.cli.enrolling import FromFiles

                way = FromFiles(enrollment, engine, config, args.files, args.trial)
            else:
                from edge.cli.enrolling import FromMicrophone, chosen_device

                stack.enter_context(paused(say, config.state_path))
                device = chosen_device(args, config, store)
                way = stack.enter_context(FromMicrophone(enrollment, engine, config, args, device))
            _enroll(way, enrollment, config, store, args)
            if enrollment.complete and not args.no_trial:
                try:
                    way.trial(store)
                except (KeyboardInterrupt, EdgeVoiceError):
                    complain(f"{enrollment.profile.name} is enrolled; the trial was skipped")
                    raise
        results, card = way.results, engine.models.speaker.card
        others = others_with_voice(enrollment.profile, store.list(), card)
        results.same_voice = [other.name for other in others]
    _tell(args, enrollment, results)
    if enrollment.keeps_old or (args.files and any(not u["accepted"] for u in results.utterances)):
        return EXIT_INPUT
    return EXIT_REJECTED if results.trial is not None and not results.trial.accepted else EXIT_OK


def _check_options(args: argparse.Namespace) -> None:
    digits_only = args.rounds is not None or args.files_from is not None
    for wrong, message in (
        (digits_only, "--rounds and --files-from need --digits"),
        (
            args.short and not args.voice,
            "--short needs --voice: a passphrase is always said three times",
        ),
        (
            args.phrase is not None and args.voice,
            "--phrase cannot be used with --voice: any speech will do there",
        ),
        (
            args.duress and args.voice,
            "--duress cannot be used with --voice: it is a second passphrase",
        ),
        (
            args.more and (args.again or args.duress),
            "--more adds to a signature: it cannot be used with --again or --duress",
        ),
        (
            args.trial is not None and not args.files,
            "--trial FILE needs files: at the microphone the trial is spoken",
        ),
    ):
        if wrong:
            raise InputError(message)


def _enroll(
    way: FromFiles | FromMicrophone,
    enrollment: Enrollment,
    config: Config,
    store: ProfileStore,
    args: argparse.Namespace,
) -> None:
    """Enroll; whatever happens, keep and audit what was accepted."""
    before = enrollment.profile.progress
    try:
        way.enroll()
        enrollment.finish()
    except (KeyboardInterrupt, EdgeVoiceError) as error:
        profile = enrollment.profile
        if enrollment.keeps_old:
            complain(f"{profile.name} keeps the old signature")
        elif enrollment.stored:
            done = f"{profile.progress:.3g} of {profile.required:.3g}"
            complain(f"progress saved ({done}): run the command again to continue")
        elif isinstance(error, KeyboardInterrupt):
            complain("nothing was enrolled")
        raise
    finally:
        profile = enrollment.profile
        enrollment.remember(config.replay)
        if enrollment.stored and profile.progress != before:
            options.audit(
                store,
                config,
                "enrollment",
                profile.id,
                what="enrolled again" if args.again else "enrolled",
                complete=enrollment.complete,
                signature=profile.kind.value,
            )


def _tell(args: argparse.Namespace, enrollment: Enrollment, results: Results) -> None:
    profile = enrollment.profile
    if args.json:
        content = profile.as_dict() if profile.id else None
        show_json({"profile": content, "stored": enrollment.stored, **results.as_dict()})
        return
    unit = "repetition" if profile.kind.value == "phrase" else "second"
    missing = f"{profile.remaining:.3g} more {unit}{'' if profile.remaining == 1 else 's'}"
    if enrollment.keeps_old:
        show(f"{profile.name} keeps the old signature: the new one needs {missing}.")
    elif not enrollment.stored:
        show(f"{profile.name} is not enrolled: nothing was accepted.")
    elif enrollment.complete:
        show(f"{profile.name} is enrolled.")
        if profile.kind.value == "voice":
            show("A voice alone is recognized, and opens nothing: enroll a passphrase for a door.")
    else:
        show(f"{profile.name} still needs {missing}. Run the command again to continue.")
    for name in results.same_voice:
        either = "open" if profile.kind.value == "phrase" else "be named"
        complain(
            f"{profile.name} has the voice of {name}: if that is one person, delete one of the two,"
            f" since either may {either}"
        )
    if results.trial is not None:
        for line in results.trial.lines():
            show(line)
