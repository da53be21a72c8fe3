"""`edge-voice enroll`: learn a voice, with the phrase that it opens with."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.cli import options
from edge.cli.auditing import audited
from edge.cli.output import complain, show, show_json
from edge.cli.prompts import say
from edge.cli.utterances import utterance_from
from edge.enrollment.checks import figures_of, remarks_on
from edge.enrollment.room_noise import RoomNoise, loudest_of
from edge.enrollment.trial import Trial, try_out
from edge.errors import (
    EXIT_INPUT,
    EXIT_OK,
    EXIT_REJECTED,
    EdgeVoiceError,
    EnrollmentRejected,
    InputError,
)
from edge.installation.service import paused

if TYPE_CHECKING:
    from edge.cli.enroll_microphone import FromMicrophone
    from edge.config import Config
    from edge.enrollment.process import Enrollment
    from edge.recognition.engine import Engine
    from edge.store import ProfileStore
    from edge.types import ProfileKind, Utterance


@dataclass
class Course:
    """How an enrollment went, as far as it went.

    Attributes:
        utterances: what became of each, under its JSON names.
        noise: the room; None where it was not measured.
        trial: what came of the trial; None where there was none.
        microphone: the name of the one that was used; None for files.
    """

    utterances: list[dict[str, Any]] = field(default_factory=list)
    noise: RoomNoise | None = None
    trial: Trial | None = None
    microphone: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """All of it under its JSON names."""
        return {
            "microphone": self.microphone,
            "noise": self.noise.as_dict() if self.noise else None,
            "utterances": self.utterances,
            "trial": self.trial.as_dict() if self.trial else None,
        }


class FromFiles:
    """Takes repetitions from recordings, and one for a trial.

    Args:
        enrollment: what is filled.
        engine: the recognizer.
        config: all settings.
        files: one repetition each.
        last: what the trial is made with; None for no trial.
    """

    def __init__(
        self,
        enrollment: Enrollment,
        engine: Engine,
        config: Config,
        files: Sequence[Path],
        last: Path | None,
    ) -> None:
        self._enrollment = enrollment
        self._engine = engine
        self._config = config
        self._files = files
        self._last = last
        self.course = Course()

    def take(self) -> None:
        """Take every file; one that is refused is told, and the others are taken."""
        kind = self._enrollment.profile.kind
        heard: list[Utterance] = []
        for file in self._files:
            fault: InputError | None = None
            utterance: Utterance | None = None
            try:
                utterance = utterance_from(file)
                heard.append(utterance)
                self._enrollment.add(self._engine, utterance)
            except EnrollmentRejected as error:
                fault = error
                complain(f"{file}: {error}", kind="refused")
            except InputError as error:
                fault = error
                complain(str(error), kind="refused")
            else:
                for remark in remarks_on(utterance, kind):
                    complain(f"{file}: {remark.text}")
            self.course.utterances.append(result_of(str(file), kind, utterance, fault))
        self.course.noise = loudest_of([utterance.quality for utterance in heard])

    def trial(self, store: ProfileStore) -> None:
        """Judge the last recording as the door would.

        Raises:
            InputError: it cannot be read.
            StoreError: the store cannot be read.
        """
        if self._last is not None:
            profile = self._enrollment.profile
            utterance = utterance_from(self._last)
            self.course.trial = try_out(self._engine, store, self._config, profile, utterance)


def result_of(
    source: str,
    kind: ProfileKind,
    utterance: Utterance | None,
    fault: InputError | None = None,
) -> dict[str, Any]:
    """What became of an utterance, for programs.

    Args:
        source: the file, or "microphone".
        kind: what is enrolled.
        utterance: what was heard; None where it could not be read.
        fault: why it was not taken; None where it was.
    """
    reason = None
    if fault is not None:
        reason = fault.reason if isinstance(fault, EnrollmentRejected) else "unreadable"
    remarks = remarks_on(utterance, kind) if utterance is not None and fault is None else []
    return {
        "source": source,
        "accepted": fault is None,
        "reason": reason,
        "message": str(fault) if fault else None,
        "checks": figures_of(utterance, kind) if utterance is not None else None,
        "warnings": [remark.code for remark in remarks],
    }


NAME = "enroll"
HELP = "enroll somebody, from the microphone or from recordings"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what it takes."""
    parser.description = (
        "Enrolls somebody: by default with a passphrase of their own choice, in any language, said"
        " at least three times; each must match the first in phrase and in voice. An enrollment that"
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
        "--voice",
        action="store_true",
        help="enroll the voice alone, by half a minute of any speech",
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
        help="enroll a second phrase for somebody who is enrolled: it opens as usual, and raises a"
        " silent alarm",
    )
    digits = parser.add_argument_group("the digits of the challenge")
    digits.add_argument(
        "--digits",
        action="store_true",
        help="enroll how somebody with a passphrase says 0 to 9, in any language",
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
    """Enroll from the files, or else guided at the microphone."""
    from edge.enrollment.process import Enrollment, Wish
    from edge.store import open_store
    from edge.types import ProfileKind

    if args.digits:
        from edge.cli import enroll_digits

        return enroll_digits.run(args)
    _refuse_what_does_not_go_together(args)
    kind = ProfileKind.VOICE if args.voice else ProfileKind.PHRASE
    config = options.config_of(args)
    with open_store(config.state_path, settings=config.store) as store:
        wish = Wish(
            args.name, kind, args.phrase, short=args.short, again=args.again, duress=args.duress
        )
        enrollment = Enrollment(store, wish, config.enrollment)
        from edge.recognition.engine import Engine

        engine = Engine.open(config)
        engine.require_models(enrollment.profile)
        with contextlib.ExitStack() as stack:
            way: FromFiles | FromMicrophone
            if args.files:
                way = FromFiles(enrollment, engine, config, args.files, args.trial)
            else:
                stack.enter_context(paused(say))
                way = stack.enter_context(_at_microphone(enrollment, engine, config, store, args))
            _take(way, enrollment, config, store, args)
            if enrollment.complete and not args.no_trial:
                _try(way, enrollment, store)
        course = way.course
    _tell(args, enrollment, course)
    if enrollment.keeps_old or (args.files and any(not u["accepted"] for u in course.utterances)):
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
    enrollment: Enrollment,
    engine: Engine,
    config: Config,
    store: ProfileStore,
    args: argparse.Namespace,
) -> FromMicrophone:
    from edge.cli.enroll_microphone import FromMicrophone, chosen_device

    device = chosen_device(args, config, store)
    return FromMicrophone(enrollment, engine, config, args, device)


def _take(
    way: FromFiles | FromMicrophone,
    enrollment: Enrollment,
    config: Config,
    store: ProfileStore,
    args: argparse.Namespace,
) -> None:
    """Take what comes, and whatever happens keep and record what was taken."""
    before = enrollment.profile.progress
    try:
        way.take()
        enrollment.finish()
    except (KeyboardInterrupt, EdgeVoiceError) as error:
        profile = enrollment.profile
        if enrollment.keeps_old:
            complain(f"{profile.name} keeps the old signature")
        elif enrollment.stored:
            done = f"{profile.progress:.3g} of {profile.required:.3g}"
            complain(f"what was taken is kept ({done}): run it again to continue")
        elif isinstance(error, KeyboardInterrupt):
            complain("it ended before anything was taken")
        raise
    finally:
        profile = enrollment.profile
        enrollment.remember(config.replay)
        if enrollment.stored and profile.progress != before:
            audited(store, config)(
                "enrollment",
                profile.id,
                what="enrolled again" if args.again else "enrolled",
                complete=enrollment.complete,
                signature=profile.kind.value,
            )


def _try(way: FromFiles | FromMicrophone, enrollment: Enrollment, store: ProfileStore) -> None:
    try:
        way.trial(store)
    except (KeyboardInterrupt, EdgeVoiceError):
        complain(f"{enrollment.profile.name} is enrolled; only the trial is left out")
        raise


def _tell(args: argparse.Namespace, enrollment: Enrollment, course: Course) -> None:
    profile = enrollment.profile
    if args.json:
        content = profile.as_dict() if profile.id else None
        show_json({"profile": content, "stored": enrollment.stored, **course.as_dict()})
        return
    unit = "repetition" if profile.kind.value == "phrase" else "second"
    missing = f"{profile.remaining:.3g} more {unit}{'' if profile.remaining == 1 else 's'}"
    if enrollment.keeps_old:
        show(f"{profile.name} keeps the old signature: {missing} would complete the new one.")
    elif not enrollment.stored:
        show(f"{profile.name} is not enrolled: nothing was taken.")
    elif enrollment.complete:
        show(f"{profile.name} is enrolled.")
    else:
        show(f"{profile.name} is not complete: {missing} needed. Run it again to continue.")
    if course.trial is not None:
        for line in course.trial.lines():
            show(line)
