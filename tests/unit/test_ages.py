"""Ages by the time that the machine has run."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from edge.store.ages import RUNNING_KEY, Ages
from edge.uptime import uptime
from tests.unit.stores import Memory

DAY_S = 86_400.0


@dataclass
class Machine:
    state: Memory = field(default_factory=Memory)
    up_s: float = 100.0
    boot: str = "one"

    def ages(self, days: int = 64, name: str = "a") -> Ages:
        return Ages(self.state, name, days, clock=lambda: self.up_s, boot=self.boot)

    def restart(self, up_s: float = 0.0) -> None:
        self.boot += "+" if self.boot else ""
        self.up_s = up_s


def test_a_number_is_old_once_the_machine_has_run_for_so_long() -> None:
    machine = Machine()
    ages = machine.ages()
    assert ages.expired(5) == 0
    for up_s, newest, expired in (
        (64 * DAY_S + 99.0, 9, 0),
        (64 * DAY_S + 100.0, 9, 5),
        (127 * DAY_S, 12, 5),
        (128 * DAY_S + 99.0, 12, 9),  # as of the day before
    ):
        machine.up_s = up_s
        assert ages.expired(newest) == expired
    assert machine.ages(name="another").expired(12) == 0


def test_switched_off_nothing_ages() -> None:
    machine = Machine()
    machine.ages().expired(5)
    machine.restart(up_s=63 * DAY_S)
    assert machine.ages().expired(7) == 0
    machine.up_s = 64 * DAY_S - 1.0
    assert machine.ages().expired(7) == 0
    machine.restart(up_s=1.0)
    assert machine.ages().expired(7) == 5


@pytest.mark.parametrize(("up_s", "running_s"), [(40.0, 140.0), (250.0, 250.0)])
def test_without_a_boot_id_less_is_counted_rather_than_more(up_s: float, running_s: float) -> None:
    machine = Machine(boot="")
    machine.ages().expired(1)
    machine.restart(up_s)
    machine.ages().expired(1)
    assert f'"total_s":{running_s}' in machine.state.texts[RUNNING_KEY]


def test_an_older_copy_of_the_file_makes_nothing_older() -> None:
    machine = Machine()
    ages = machine.ages()
    for day, newest in ((0, 100), (1, 200), (2, 300)):
        machine.up_s = day * DAY_S
        ages.expired(newest)
    machine.up_s += 3600.0
    assert ages.expired(150) == 0  # from here on, 151 to 300 are given out anew
    machine.up_s = 66 * DAY_S
    assert ages.expired(400) == 100


def test_notes_are_few() -> None:
    machine = Machine()
    ages = machine.ages()
    for hour in range(0, 24 * 200, 6):
        machine.up_s = 3600.0 * hour
        ages.expired(hour + 1)
    assert machine.state.texts["ages/a"].count("[") == 1 + 65
    assert ages.expired(hour + 1) == 24 * (199 - 64) + 1


@pytest.mark.parametrize(
    "text", ["", "x", "7", "[[1]]", '[["a",1]]', "[[NaN,1]]", "[[0,Infinity]]", "[" * 5000]
)
def test_damaged_notes_count_for_nothing(text: str) -> None:
    machine = Machine()
    machine.state.texts["ages/a"] = text
    assert machine.ages().expired(5) == 0
    machine.up_s += 64 * DAY_S
    assert machine.ages().expired(5) == 5


@pytest.mark.parametrize(
    "text",
    ["", "x", "7", "{}", '{"boot":"one","at_s":1,"total_s":Infinity}',
     '{"boot":"one","at_s":NaN,"total_s":1e10}', '{"boot":"one","at_s":1,"total_s":-9}'],
)  # fmt: skip
def test_a_damaged_running_time_begins_anew(text: str) -> None:
    machine = Machine()
    machine.state.texts[RUNNING_KEY] = text
    assert machine.ages().expired(5) == 0
    assert '"total_s":100.0' in machine.state.texts[RUNNING_KEY]


def test_the_machine_s_own_clock() -> None:
    state = Memory()
    before = uptime()
    Ages(state, "a", 1).expired(1)
    total_s = float(state.texts[RUNNING_KEY].rpartition(":")[2].rstrip("}"))
    assert before - 0.001 <= total_s <= uptime() + 0.001
