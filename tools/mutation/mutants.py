"""Finds the mutants of a module: each is the module with one mistake in it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import parso
from cosmic_ray.ast import ast_nodes
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from parso.tree import NodeOrLeaf

from tools.mutation.operators import operators


@dataclass(frozen=True)
class Mutant:
    """A module with one mistake."""

    module: str
    """Path from the root of the repository."""
    definition: str
    """Function or class it is in, as `Class.method`; empty at the level of the module."""
    line: int
    code: str
    """The module without the mistake."""
    operator: Operator
    occurrence: int
    """Which of the places where the operator applies."""

    @cached_property
    def mutated(self) -> str:
        """The module with the mistake."""
        return str(mutate_code(self.code, self.operator, self.occurrence))

    @cached_property
    def change(self) -> tuple[str, str]:
        """The first line that differs, as it is and as it would be, without indentation."""
        for before, after in itertools.zip_longest(
            self.code.splitlines(), self.mutated.splitlines(), fillvalue=""
        ):
            if before != after:
                return before.strip(), after.strip()
        return "", ""

    @property
    def source_line(self) -> str:
        """The line as it is, without indentation."""
        return self.code.splitlines()[self.line - 1].strip()


def find_mutants(root: Path, module: str) -> Iterator[Mutant]:
    """All mutants of a module, but for places where a mistake has no effect on what it does."""
    code = (root / module).read_text(encoding="utf-8")
    tree = parso.parse(code)
    nodes = [(node, _counts(node)) for node in ast_nodes(tree)]
    for operator in operators():
        occurrence = 0
        for node, counts in nodes:
            for start, _ in operator.mutation_positions(node):
                if counts:
                    yield Mutant(module, _definition(node), start[0], code, operator, occurrence)
                occurrence += 1


def definition_at(tree: NodeOrLeaf, line: int) -> str:
    """The function or class that a line is in."""
    return _definition(tree.get_leaf_for_position((line, 0), include_prefixes=True))


def _ancestors(node: NodeOrLeaf) -> Iterator[NodeOrLeaf]:
    parent = node.parent
    while parent is not None:
        yield parent
        parent = parent.parent


def _definition(node: NodeOrLeaf) -> str:
    names = [
        parent.name.value for parent in _ancestors(node) if parent.type in {"funcdef", "classdef"}
    ]
    return ".".join(reversed(names))


def _counts(node: NodeOrLeaf) -> bool:
    """Whether a mistake here changes what the module does, not only how it is typed or logged."""
    child = node
    for parent in _ancestors(node):
        star = parent.type == "parameters" and child is node  # before what is given by name
        if star or parent.type in {"decorator", "import_from", "import_name", "assert_stmt"}:
            return False
        if parent.type == "annassign" and child is parent.children[1]:
            return False
        if parent.type == "tfpdef" and child is not parent.children[0]:
            return False
        if parent.type == "funcdef" and child is parent.annotation:
            return False
        child = parent
    if any(
        each.type == "if_stmt" and "TYPE_CHECKING" in each.children[1].get_code()
        for each in (node, *_ancestors(node))
    ):
        return False
    statement = node.children[0] if node.type == "simple_stmt" else node
    return not any(
        each.type == "atom_expr" and each.get_code().strip().startswith("_log.")
        for each in (statement, *_ancestors(node))
    )
