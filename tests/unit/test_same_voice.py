"""Whether somebody is enrolled under another name already."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge.enrollment.same_voice import enrolled_twice, others_with_voice
from edge.recognition import Engine
from edge.types import FloatArray, Profile, ProfileKind
from tests.unit.stores import make_sample
from tests.unit.voices import enrolled


def named(profile: Profile, name: str) -> Profile:
    return replace(profile, id=Profile.begin(name).id, name=name)


def test_one_voice_under_two_names(engine: Engine) -> None:
    card = engine.models.speaker.card
    ada, robin = enrolled(engine, "ada"), enrolled(engine, "robin")
    people = [ada, robin]
    assert others_with_voice(ada, people, card) == []
    assert enrolled_twice(people, card) == []
    countess = named(ada, "Countess")
    assert others_with_voice(countess, people, card) == [ada]
    assert enrolled_twice([ada, robin, countess], card) == [(ada, countess)]
    # Whoever waits to be confirmed has a voice too.
    assert others_with_voice(ada, [replace(countess, confirmed=False)], card) != []
    for other in (
        replace(countess, samples=countess.samples[:2]),
        replace(countess, duress_of=ada.id),
        replace(countess, kind=ProfileKind.VOICE),
        replace(countess, speaker_model="5" * 64),
    ):
        assert others_with_voice(ada, [other], card) == []
        assert others_with_voice(other, [ada], card) == []


@pytest.mark.parametrize(("likeness", "alike"), [(0.6036, False), (0.6056, True)])
def test_how_alike_they_are(engine: Engine, likeness: float, *, alike: bool) -> None:
    one, other = make_sample(1).speaker_embedding, make_sample(2).speaker_embedding
    across = other - (one @ other) * one
    across /= (across @ across) ** 0.5
    near: FloatArray = likeness * one + (1.0 - likeness**2) ** 0.5 * across
    first, second = (
        replace(Profile.begin(name, required=1), samples=(sample,))
        for name, sample in (
            ("Ada", replace(make_sample(), speaker_embedding=one)),
            ("Robin", replace(make_sample(), speaker_embedding=near)),
        )
    )
    assert bool(enrolled_twice([first, second], engine.models.speaker.card)) is alike
