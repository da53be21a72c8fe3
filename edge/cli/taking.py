"""What becomes of the repetitions of an enrolment, and how they are taken from files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.cli.hearing import utterance_from
from edge.cli.output import complain
from edge.enrolment.checks import figures_of, remarks_on
from edge.enrolment.noise import RoomNoise, loudest_of
from edge.enrolment.trial import Trial, try_out
from edge.errors import EnrolmentRejected, InputError

if TYPE_CHECKING:
    from edge.config import Config
    from edge.enrolment.process import Enrolment
    from edge.recognition.engine import Engine
    from edge.store import ProfileStore
    from edge.types import ProfileKind, Utterance


@dataclass
class Course:
    """How an enrolment went, as far as it went.

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
        enrolment: what is filled.
        engine: the recogniser.
        config: all settings.
        files: one repetition each.
        last: what the trial is made with; None for no trial.
    """

    def __init__(
        self,
        enrolment: Enrolment,
        engine: Engine,
        config: Config,
        files: Sequence[Path],
        last: Path | None,
    ) -> None:
        self._enrolment = enrolment
        self._engine = engine
        self._config = config
        self._files = files
        self._last = last
        self.course = Course()

    def take(self) -> None:
        """Take every file; one that is refused is told, and the others are taken."""
        kind = self._enrolment.profile.kind
        heard: list[Utterance] = []
        for file in self._files:
            fault: InputError | None = None
            utterance: Utterance | None = None
            try:
                utterance = utterance_from(file)
                heard.append(utterance)
                self._enrolment.add(self._engine, utterance)
            except EnrolmentRejected as error:
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
            profile = self._enrolment.profile
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
        reason = fault.reason if isinstance(fault, EnrolmentRejected) else "unreadable"
    remarks = remarks_on(utterance, kind) if utterance is not None and fault is None else []
    return {
        "source": source,
        "accepted": fault is None,
        "reason": reason,
        "message": str(fault) if fault else None,
        "checks": figures_of(utterance, kind) if utterance is not None else None,
        "warnings": [remark.code for remark in remarks],
    }
