"""The tool that puts mistakes into the code, on a small program of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator

from tests.conftest import REPOSITORY
from tools.mutation.equivalent import Equivalent, read_equivalent
from tools.mutation.mutants import Mutant, find_mutants
from tools.mutation.operators import operators
from tools.mutation_test import try_mutants

MODULE = "edge/door/lock.py"
CODE = '''\
import logging

_log = logging.getLogger(__name__)
LONGEST_S: int | None = 30


def may_open(age_s: float, *, names: list[str] | None = None) -> bool:
    """Whether."""
    _log.info("asked at %s", 1)
    if age_s < 10:
        return True
    return age_s < 20


def never_called() -> int:
    return 4
'''
TESTS = """\
from edge.door import lock

def test_limit():
    assert not lock.may_open(20)
    assert lock.may_open(19.5)
    assert lock.may_open(5)

def test_constant():
    assert lock.LONGEST_S == 30
"""
EXAMPLES = [
    (operator, example)
    for operator in operators()
    for example in type(operator).examples()
    if "except: pass" not in example.pre_mutation_code
]


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A repository with one module and its tests."""
    for name, text in (
        (MODULE, CODE),
        ("edge/__init__.py", ""),
        ("edge/door/__init__.py", ""),
        ("tests/test_lock.py", TESTS),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(("operator", "example"), EXAMPLES)
def test_operators_make_the_mistake_of_their_examples(operator: Operator, example: Any) -> None:
    mutated = mutate_code(example.pre_mutation_code, operator, example.occurrence)
    assert mutated == example.post_mutation_code


def test_mutants_are_where_the_code_does_something(program: Path) -> None:
    changes = {(mutant.definition, *mutant.change) for mutant in find_mutants(program, MODULE)}
    assert ("", "LONGEST_S: int | None = 30", "LONGEST_S: int | None = (36)") in changes
    assert ("may_open", "return age_s < 20", "return age_s <= 20") in changes
    assert ("may_open", "if age_s < 10:", "if age_s < (8):") in changes
    assert all("_log" not in before and "def " not in before for _, before, _ in changes)
    assert all("int & None" not in after for _, _, after in changes)


@pytest.mark.long
def test_what_a_test_notices_is_killed(program: Path) -> None:
    mutants = list(find_mutants(program, MODULE))
    called = [mutant for mutant in mutants if mutant.definition != "never_called"]
    reaching = {mutant: ["tests/test_lock.py"] for mutant in called}
    reaching |= {mutant: [] for mutant in mutants if mutant not in reaching}
    results = {
        (result.mutant.definition, result.mutant.change[1]): (result.outcome, result.by)
        for result in try_mutants(mutants, reaching, [program])
    }
    limit, constant = "tests/test_lock.py::test_limit", "tests/test_lock.py::test_constant"
    assert results["may_open", "return age_s <= 20"] == ("killed", limit)
    assert results["may_open", "return age_s < (16)"] == ("killed", limit)
    assert results["", "LONGEST_S: int | None = (24)"] == ("killed", constant)
    # Whoever is younger than 10 may open in any case.
    assert results["may_open", "if age_s < (8):"] == ("survived", "")
    assert results["never_called", "return (5)"] == ("not reached", "")
    assert (program / MODULE).read_text() == CODE


@pytest.mark.slow
def test_every_mutant_of_the_list_of_equivalents_still_exists() -> None:
    entries = read_equivalent(REPOSITORY)
    found: dict[str, list[Mutant]] = {
        module: list(find_mutants(REPOSITORY, module))
        for module in {entry.module for entry in entries}
    }
    gone = [
        entry
        for entry in entries
        if not any(
            entry.matches(mutant)
            for mutant in found[entry.module]
            if (mutant.definition, mutant.source_line) == (entry.definition, entry.before)
        )
    ]
    assert gone == []


@pytest.mark.parametrize(
    ("definition", "before", "after"),
    [
        ("never_called", "return age_s < 20", "return age_s <= 20"),
        ("may_open", "return age_s < 21", "return age_s <= 20"),
        ("may_open", "return age_s < 20", "return age_s >= 20"),
    ],
)
def test_an_entry_is_about_one_change_in_one_place(
    program: Path, definition: str, before: str, after: str
) -> None:
    mutants = list(find_mutants(program, MODULE))
    right = Equivalent(MODULE, "may_open", "return age_s < 20", "return age_s <= 20", "a reason")
    assert sum(right.matches(mutant) for mutant in mutants) == 1
    other = Equivalent(MODULE, definition, before, after, "a reason")
    assert {mutant.change for mutant in mutants if other.matches(mutant)} <= {(before, after)}
    assert not other.matches(next(mutant for mutant in mutants if right.matches(mutant)))


def test_an_entry_without_a_reason_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/equivalent_mutants.yaml").write_text(
        "edge/door/lock.py:\n- {in: may_open, before: a, after: b, reason: ' '}\n"
    )
    with pytest.raises(ValueError, match="an entry needs"):
        read_equivalent(tmp_path)
