"""The list of mutants that no test can tell from the code, with a reason each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from tools.mutation.mutants import Mutant

LIST = "tests/equivalent_mutants.yaml"


@dataclass(frozen=True)
class Equivalent:
    """One entry of the list."""

    module: str
    definition: str
    before: str
    after: str
    reason: str

    def matches(self, mutant: Mutant) -> bool:
        """Whether it is about this mutant."""
        return (self.module, self.definition) == (mutant.module, mutant.definition) and (
            self.before,
            self.after,
        ) == mutant.change


def read_equivalent(root: Path) -> list[Equivalent]:
    """The list, empty where there is none.

    Raises:
        ValueError: An entry lacks a field or its reason.
    """
    path = root / LIST
    if not path.exists():
        return []
    entries = []
    for module, mutants in (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).items():
        for each in mutants:
            fields = {"in", "before", "after", "reason"}
            if set(each) != fields or not str(each["reason"]).strip():
                raise ValueError(f"{LIST}: {module}: an entry needs {', '.join(sorted(fields))}")
            entries.append(
                Equivalent(
                    module, each["in"] or "", each["before"], each["after"] or "", each["reason"]
                )
            )
    return entries
