"""Enrolling from recordings, and the results that every way of enrolling collects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.cli.output import complain
from edge.cli.utterances import complain_of, result_of, utterance_from
from edge.enrollment.checks import figures_of, remarks_on
from edge.enrollment.room_noise import RoomNoise, loudest_of
from edge.enrollment.trial import Trial, try_out
from edge.errors import InputError

if TYPE_CHECKING:
    from edge.config import Config
    from edge.enrollment.process import Enrollment
    from edge.recognition.engine import Engine
    from edge.store import ProfileStore
    from edge.types import ProfileKind, Utterance


@dataclass
class Results:
    """The results of an enrollment so far; `microphone` is None for files."""

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

    def add(
        self,
        source: str,
        kind: ProfileKind,
        utterance: Utterance | None,
        fault: InputError | None = None,
    ) -> None:
        """Record the result of an utterance; None is one that could not be read."""
        remarks = remarks_on(utterance, kind) if utterance is not None and fault is None else []
        self.utterances.append(
            {
                **result_of(source, fault),
                "checks": figures_of(utterance, kind) if utterance is not None else None,
                "warnings": [remark.code for remark in remarks],
            }
        )


class FromFiles:
    """Enrolls repetitions from recordings; `last` is for the trial, None for no trial."""

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
        self.results = Results()

    def enroll(self) -> None:
        """Add every file; rejected ones are reported and the rest continue."""
        kind = self._enrollment.profile.kind
        utterances: list[Utterance] = []
        for file in self._files:
            fault: InputError | None = None
            utterance: Utterance | None = None
            try:
                utterance = utterance_from(file)
                utterances.append(utterance)
                self._enrollment.add(self._engine, utterance)
            except InputError as error:
                fault = error
                complain_of(file, error)
            else:
                for remark in remarks_on(utterance, kind):
                    complain(f"{file}: {remark.text}")
            self.results.add(str(file), kind, utterance, fault)
        self.results.noise = loudest_of([utterance.quality for utterance in utterances])

    def trial(self, store: ProfileStore) -> None:
        """Judge the last recording as at the door.

        Raises:
            InputError: it cannot be read.
            StoreError: the store cannot be read.
        """
        if self._last is not None:
            profile = self._enrollment.profile
            utterance = utterance_from(self._last)
            self.results.trial = try_out(self._engine, store, self._config, profile, utterance)
