"""The rows of docs/THREATS.md: exact intervals, and what each says."""

from __future__ import annotations

import pytest

from edge.evaluation.metrics import exact_limits
from tools import attack
from tools.accuracy.tables import altered
from tools.attacks.rows import HEAD, Attack, markdown
from tools.measure_replay import attacks_of as replays
from tools.measure_splices import KINDS, Count, attacks_of

# Clopper and Pearson's limits, from the quantiles of the beta distribution.
EXACT = {
    (0, 8): (0.0, 0.369417),
    (5, 8): (0.244863, 0.914767),
    (8, 8): (0.630583, 1.0),
    (2, 4752): (0.0000509740, 0.00151951),
    (112, 4752): (0.0194453, 0.0282914),
    (1, 1): (0.025, 1.0),
    (0, 0): (0.0, 1.0),
}


@pytest.mark.parametrize("counted", EXACT, ids=lambda counted: f"{counted[0]} of {counted[1]}")
def test_intervals_are_exact(counted: tuple[int, int]) -> None:
    assert exact_limits(*counted) == pytest.approx(EXACT[counted], rel=1e-5)


def row(tried: int, accepted: int, *, chance: bool = True) -> Attack:
    return Attack("a kind", tried, accepted, "a lock", "a key", "attack FOLDER", chance)


@pytest.mark.parametrize(
    ("attack", "rate"),
    [
        (row(8, 0), "0 % (0 to 37)"),
        (row(8, 8), "100 % (63 to 100)"),
        (row(4752, 2), "0.042 % (0.0051 to 0.15)"),
        (row(96000, 261, chance=False), "0.27 %"),
        (row(0, 0), "not tried"),
    ],
)
def test_a_rate_with_its_interval(attack: Attack, rate: str) -> None:
    assert attack.rate() == rate


def test_a_table_for_the_documentation() -> None:
    head, rule, line = markdown([row(4752, 2)]).splitlines()
    assert head.count("|") == rule.count("|") == line.count("|") == len(HEAD) + 1
    assert line == (
        "| a kind | 4,752 | 2 | 0.042 % (0.0051 to 0.15) | a lock | a key | `attack FOLDER` |"
    )
    assert row(4752, 2).as_dict()["interval_percent"] == [0.005, 0.152]
    assert row(8, 1, chance=False).as_dict()["interval_percent"] is None


def test_of_altered_strangers_the_worst_kind_counts() -> None:
    figures = {
        name: {"strangers": 1000, "accepted": {"balanced": accepted}}
        for name, accepted in (("quiet", 1), ("noise 5 dB", 0), ("echo", 3), ("softly", 2))
    }
    in_quiet, worst = altered(figures)
    assert (in_quiet.tried, in_quiet.accepted) == (1000, 1)
    assert (worst.tried, worst.accepted) == (1000, 3)
    assert "echo" in worst.kind
    assert "worst of 3" in worst.kind


def test_each_kind_of_splice_has_its_row() -> None:
    counts = {kind: Count(10, after={"balanced": 2}) for kind in (*KINDS, "calm")}
    rows = attacks_of(counts)
    assert [(one.tried, one.accepted) for one in rows] == [(10, 2)] * len(KINDS)
    assert not any("calm" in one.kind for one in rows)


def test_the_help_names_every_part() -> None:
    assert attack.__doc__ is not None
    for part in attack.PARTS:
        assert f"\n    {part} " in attack.__doc__


def test_a_replay_that_is_not_known_again_is_accepted() -> None:
    figures = {"replays": {"Opus": {"of": 60, "detected": 51}}}
    (one,) = replays("same_phrase", figures)
    assert (one.tried, one.accepted, one.rate()) == (60, 9, "15 % (7.1 to 27)")
    assert "Opus" in one.kind
