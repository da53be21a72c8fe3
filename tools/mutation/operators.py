"""Which mistakes are put into the code: Cosmic Ray's operators, and some of our own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from cosmic_ray.exceptions import CosmicRayTestingException
from cosmic_ray.operators import (
    binary_operator_replacement as binary,
)
from cosmic_ray.operators import (
    boolean_replacer,
    break_continue,
    exception_replacer,
    unary_operator_replacement,
    zero_iteration_for_loop,
)
from cosmic_ray.operators import (
    comparison_operator_replacement as comparison,
)
from cosmic_ray.operators.operator import Example, Operator
from parso.python.tree import Keyword, Name, Number
from parso.tree import BaseNode, NodeOrLeaf

Span = tuple[tuple[int, int], tuple[int, int]]

_LARGE = 10
"""Smaller whole numbers are off by one, the others and all fractions by a fifth."""


class ConstantOff(Operator):  # type: ignore[misc]
    """A constant that is off by one or by a fifth, both ways."""

    def mutation_positions(self, node: NodeOrLeaf) -> Iterator[Span]:
        if node.type == "number":
            yield node.start_pos, node.end_pos
            yield node.start_pos, node.end_pos

    def mutate(self, node: Number, index: int) -> Number:
        value = _value(node)
        if isinstance(value, int):
            wrong: float = value + (1, -1)[index]
            if value >= _LARGE:
                wrong = round(value * (1.2, 0.8)[index])
        else:
            wrong = value * (1.2, 0.8)[index] if value else (0.2, -0.2)[index]
        # In parentheses: a negative number may stand before a dot or a power.
        return Number(f"{node.prefix}({wrong!r})", node.start_pos)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        return (
            Example("x = 1", "x = (2)"),
            Example("x = 1", "x = (0)", occurrence=1),
            Example("x = 30", "x = (36)"),
            Example("x = 0.5", "x = (0.6)"),
            Example("x = 0.5", "x = (0.4)", occurrence=1),
        )


class MembershipNegated(Operator):  # type: ignore[misc]
    """`in` for `not in`, and the other way round."""

    def mutation_positions(self, node: NodeOrLeaf) -> Iterator[Span]:
        if node.type == "comparison":
            for operator in _memberships(node):
                yield operator.start_pos, operator.end_pos

    def mutate(self, node: BaseNode, index: int) -> BaseNode:
        operator = _memberships(node)[index]
        negated = operator.get_code().split() == ["not", "in"]
        node.children[node.children.index(operator)] = Keyword(
            " in" if negated else " not in", operator.start_pos
        )
        return node

    @classmethod
    def examples(cls) -> Iterable[Example]:
        return (
            Example("x in y", "x not in y"),
            Example("x not in y", "x in y"),
        )


class StatementLeftOut(Operator):  # type: ignore[misc]
    """A call, a `raise`, a `del` or a change of an attribute that is not there."""

    def mutation_positions(self, node: NodeOrLeaf) -> Iterator[Span]:
        if node.type == "simple_stmt" and _does_something(node.children[0]):
            yield node.start_pos, node.end_pos

    def mutate(self, node: BaseNode, index: int) -> BaseNode:
        first = node.children[0]
        node.children[0] = Keyword(f"{first.get_first_leaf().prefix}pass", first.start_pos)
        return node

    @classmethod
    def examples(cls) -> Iterable[Example]:
        return (
            Example("check(x)\n", "pass\n"),
            Example("raise ValueError\n", "pass\n"),
            Example("self.x = 1\n", "pass\n"),
            Example("x += 1\n", "pass\n"),
        )


class LockLeftOut(Operator):  # type: ignore[misc]
    """A block that does not hold its lock."""

    def mutation_positions(self, node: NodeOrLeaf) -> Iterator[Span]:
        if node.type == "with_stmt" and re.search("lock", _head(node), re.IGNORECASE):
            yield node.start_pos, node.end_pos

    def mutate(self, node: BaseNode, index: int) -> BaseNode:
        colon = next(i for i, child in enumerate(node.children) if child == ":")
        prefix = node.get_first_leaf().prefix
        node.children[:colon] = [Keyword(f"{prefix}if True", node.start_pos)]
        return node

    @classmethod
    def examples(cls) -> Iterable[Example]:
        return (Example("with self._lock:\n    x()\n", "if True:\n    x()\n"),)


class ExceptionNotCaught(exception_replacer.ExceptionReplacer):  # type: ignore[misc]
    """Another exception for one that is caught, also for one with a dot in its name."""

    def mutate(self, node: BaseNode, index: int) -> BaseNode:
        caught = self._name_nodes(node)[index]
        others = caught.parent.children
        name = f"{caught.get_first_leaf().prefix}{CosmicRayTestingException.__name__}"
        others[others.index(caught)] = Name(name, caught.start_pos)
        return node

    @staticmethod
    def _name_nodes(node: BaseNode) -> list[Any]:
        caught = node.children[1]
        if caught.type != "atom":
            return [caught]
        inside = caught.children[1]
        return inside.children[::2] if inside.type == "testlist_comp" else [inside]

    @classmethod
    def examples(cls) -> Iterable[Example]:
        after = CosmicRayTestingException.__name__
        before = "try: x()\nexcept (ValueError, a.Error): y()"
        return (
            *super().examples(),
            Example(before, f"try: x()\nexcept ({after}, a.Error): y()"),
            Example(before, f"try: x()\nexcept (ValueError, {after}): y()", occurrence=1),
            Example("try: x()\nexcept a.Error: y()", f"try: x()\nexcept {after}: y()"),
        )


def _value(node: Number) -> int | float:
    try:
        return int(node.value, 0)
    except ValueError:
        return float(node.value)


def _memberships(node: BaseNode) -> list[NodeOrLeaf]:
    return [
        child
        for child in node.children[1::2]
        if child.get_code().split() in (["in"], ["not", "in"])
    ]


def _head(node: BaseNode) -> str:
    """The part of a `with` statement before its colon."""
    colon = next(i for i, child in enumerate(node.children) if child == ":")
    return "".join(child.get_code() for child in node.children[:colon])


def _does_something(statement: NodeOrLeaf) -> bool:
    if statement.type in {"raise_stmt", "del_stmt"} or statement.get_code().strip() == "raise":
        return True
    if statement.type in {"atom_expr", "await_expr"}:
        return str(statement.children[-1].get_code()).rstrip().endswith(")")
    if statement.type != "expr_stmt":
        return False
    changed = statement.children[0].get_code().strip()
    if re.fullmatch(r"[-+*/|&^%@]=|//=|\*\*=|<<=|>>=", statement.children[1].get_code().strip()):
        return True
    return "." in changed or "[" in changed


_KINDS: tuple[type[Operator], ...] = (
    ConstantOff,
    MembershipNegated,
    StatementLeftOut,
    LockLeftOut,
    boolean_replacer.AddNot,
    boolean_replacer.ReplaceTrueWithFalse,
    boolean_replacer.ReplaceFalseWithTrue,
    boolean_replacer.ReplaceAndWithOr,
    boolean_replacer.ReplaceOrWithAnd,
    break_continue.ReplaceBreakWithContinue,
    break_continue.ReplaceContinueWithBreak,
    ExceptionNotCaught,
    unary_operator_replacement.ReplaceUnaryOperator_Delete_Not,
    unary_operator_replacement.ReplaceUnaryOperator_USub_UAdd,
    zero_iteration_for_loop.ZeroIterationForLoop,
    # Of a comparison, the one with the other limit and the opposite: the rest repeat these.
    comparison.ReplaceComparisonOperator_Lt_LtE,
    comparison.ReplaceComparisonOperator_Lt_GtE,
    comparison.ReplaceComparisonOperator_LtE_Lt,
    comparison.ReplaceComparisonOperator_LtE_Gt,
    comparison.ReplaceComparisonOperator_Gt_GtE,
    comparison.ReplaceComparisonOperator_Gt_LtE,
    comparison.ReplaceComparisonOperator_GtE_Gt,
    comparison.ReplaceComparisonOperator_GtE_Lt,
    comparison.ReplaceComparisonOperator_Eq_NotEq,
    comparison.ReplaceComparisonOperator_NotEq_Eq,
    comparison.ReplaceComparisonOperator_Is_IsNot,
    comparison.ReplaceComparisonOperator_IsNot_Is,
    binary.ReplaceBinaryOperator_Add_Sub,
    binary.ReplaceBinaryOperator_Sub_Add,
    binary.ReplaceBinaryOperator_Mul_Div,
    binary.ReplaceBinaryOperator_Div_Mul,
    binary.ReplaceBinaryOperator_FloorDiv_Mul,
    binary.ReplaceBinaryOperator_Mod_Mul,
    binary.ReplaceBinaryOperator_BitAnd_BitOr,
    binary.ReplaceBinaryOperator_BitOr_BitAnd,
    binary.ReplaceBinaryOperator_LShift_RShift,
    binary.ReplaceBinaryOperator_RShift_LShift,
)


def operators() -> tuple[Operator, ...]:
    """One of each kind."""
    return tuple(kind() for kind in _KINDS)
