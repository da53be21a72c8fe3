"""What an evaluation found, as the report shows it and `edge-voice calibrate` reads it again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FORMAT = "edge-voice evaluation"
VERSION = 1


@dataclass(frozen=True)
class Figure:
    """A measured figure and how far it can be trusted.

    Attributes:
        value: the figure; None where it cannot be told from so few trials.
        low: lower limit of the 95 % interval; None where it cannot be told.
        high: its upper limit; None where it cannot be told.
        trials: how many trials it rests on.
        errors: how many of them went wrong, where the figure is a share of them; else None.
    """

    value: float | None
    low: float | None
    high: float | None
    trials: int
    errors: int | None = None


@dataclass(frozen=True)
class KindFigures:
    """The targets against one kind of trial that must be rejected.

    Attributes:
        kind: which, such as `IC`; `all` for all of them together.
        trials: how many of that kind.
        eer: equal error rate.
        min_dcf_nist: normalized minimum detection cost at NIST's costs.
        min_dcf_challenge: the same at those of the challenge in text-dependent verification.
        false_rejects: (false-accept rate, false-reject rate there) of 1 in 100, 1,000, 10,000.
    """

    kind: str
    trials: int
    eer: Figure
    min_dcf_nist: Figure
    min_dcf_challenge: Figure
    false_rejects: tuple[tuple[float, Figure], ...]


@dataclass(frozen=True)
class PresetFigures:
    """What a preset would do on these recordings.

    Attributes:
        name: `relaxed`, `balanced` or `strict`.
        asked: the false-accept rate that it stands for.
        threshold: the score from which it accepts.
        false_reject: how often the right voice with the right phrase is turned away.
        false_accepts: (kind, how often it gets in) of each kind of trial that must be rejected.
    """

    name: str
    asked: float
    threshold: float
    false_reject: Figure
    false_accepts: tuple[tuple[str, Figure], ...]


@dataclass(frozen=True)
class Suggestion:
    """Which preset suits these people.

    Attributes:
        preset: its name.
        reason: why, in a sentence.
        warnings: what the recordings cannot show or show to be wrong, a sentence each.
    """

    preset: str
    reason: str
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Evaluation:
    """All that was found.

    Attributes:
        folder: name of the folder of recordings.
        made_at: when, ISO 8601 with the offset.
        software: version of the software.
        speaker_model: SHA-256 of the speaker model.
        phrase_model: SHA-256 of the phrase model.
        by_phrase: whether phrases were compared too.
        enrol: recordings enrolled for each profile.
        people: how many people speak.
        profiles: how many profiles were enrolled.
        recordings: how many recordings there were.
        tested: how many were tested.
        refused: how many were left out, by reason.
        kinds: the figures against each kind of trial, the main one first.
        presets: what each preset would do, from the most forgiving to the strictest.
        suggestion: which preset suits.
    """

    folder: str
    made_at: str
    software: str
    speaker_model: str
    phrase_model: str
    by_phrase: bool
    enrol: int
    people: int
    profiles: int
    recordings: int
    tested: int
    refused: Mapping[str, int]
    kinds: tuple[KindFigures, ...]
    presets: tuple[PresetFigures, ...]
    suggestion: Suggestion

    @property
    def suggested(self) -> PresetFigures:
        """What the suggested preset would do."""
        return next(one for one in self.presets if one.name == self.suggestion.preset)

    def as_dict(self) -> dict[str, Any]:
        """All of it under its JSON names; rates are shares, 0 to 1."""
        content = dataclasses.asdict(self)
        for kind in content["kinds"]:
            kind["false_rejects"] = [
                {"false_accept_rate": far, **figure} for far, figure in kind["false_rejects"]
            ]
        for preset in content["presets"]:
            preset["false_accepts"] = dict(preset["false_accepts"])
        return {"format": FORMAT, "version": VERSION, **content}
