"""What a piece of YAML text means for the setting that it is given to."""

from __future__ import annotations

import math
import re
import typing
from pathlib import Path
from types import UnionType
from typing import Any

import yaml

from edge.config.settings import Setting
from edge.config.texts import fault, without_secrets

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
_NUMERIC = re.compile(r"[-+]?\.?[0-9]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_EMPTY = ("", "~", "null", "Null", "NULL")
_TRUTHS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


class ValueProblem(Exception):
    """A value cannot be used; the text says what is wrong and what would be right."""


def is_empty(node: yaml.Node) -> bool:
    """Whether a value was left out or given as null."""
    return isinstance(node, yaml.ScalarNode) and node.style is None and node.value in _EMPTY


def convert(node: yaml.Node, setting: Setting) -> Any:
    """The value of a setting, in its type, from a YAML node. Raises `ValueProblem`."""
    kinds = _kinds(setting)
    if is_empty(node):
        if type(None) in kinds:
            return None
        raise ValueProblem(f"has no value; give {expected(setting)}")
    if not isinstance(node, yaml.ScalarNode):
        found = "a list" if isinstance(node, yaml.SequenceNode) else "a group of keys"
        raise ValueProblem(f"{found} is not possible here; give {expected(setting)}")
    text = node.value
    plain = node.style is None
    if bool in kinds:
        return _truth(text, plain, setting)
    # A quoted number is a name (a device may be called "2"), a plain one a number.
    if int in kinds and (str not in kinds or (plain and _INTEGER.fullmatch(text))):
        return _in_range(int(_digits(text, plain, setting, _INTEGER)), setting)
    # What begins like a number must be one, so that its mistake is explained as a number's.
    if float in kinds and (str not in kinds or _NUMERIC.match(text)):
        return _in_range(float(_digits(text, plain, setting, _NUMBER)), setting)
    _check_text(text, setting, "file" if Path in kinds else "")
    return expand(text) if Path in kinds else text


def expand(text: str) -> Path:
    """A path, with a leading ~ replaced. Raises `ValueProblem`."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        home = quoted(Path(text).parts[0])
        raise ValueProblem(f"there is no home directory {home}; write the whole path") from None


def expected(setting: Setting) -> str:
    """What would be right for a setting, in words."""
    rule = setting.rule
    kinds = _kinds(setting)
    if bool in kinds:
        return "true or false"
    if rule.choices:
        words = "one of " + ", ".join(rule.choices)
        return f"{words}, or {_number(setting)}" if float in kinds else words
    if rule.pattern_doc:
        return rule.pattern_doc
    if Path in kinds:
        return "a file name"
    example = f", such as {setting.default}" if setting.default is not None else ""
    return _number(setting) + example


def _number(setting: Setting) -> str:
    rule = setting.rule
    number = "a whole number" if int in _kinds(setting) else "a number"
    limits = f" from {rule.least:g} to {rule.most:g}" if rule.least is not None else ""
    unit = f" ({rule.unit})" if rule.unit else ""
    return f"{number}{limits}{unit}"


def quoted(text: str) -> str:
    """A piece of a file as it can be shown in one short line, also in a log: without passwords."""
    shown = _SURROGATE.sub("\ufffd", _CONTROL.sub("\ufffd", without_secrets(text)))
    return "'" + (shown if len(shown) <= 40 else shown[:37] + "...") + "'"


def _kinds(setting: Setting) -> tuple[Any, ...]:
    if isinstance(setting.kind, UnionType):
        return typing.get_args(setting.kind)
    return (setting.kind,)


def _truth(text: str, plain: bool, setting: Setting) -> bool:
    if not plain or text.lower() not in _TRUTHS:
        raise ValueProblem(f"{quoted(text)} is neither true nor false; give {expected(setting)}")
    return _TRUTHS[text.lower()]


def _digits(text: str, plain: bool, setting: Setting, form: re.Pattern[str]) -> str:
    if plain and form.fullmatch(text) and len(text) <= 40:
        return text
    right = expected(setting)
    what = "a whole number" if form is _INTEGER else "a number"
    if not plain and form.fullmatch(text):
        raise ValueProblem(f"{quoted(text)} is text because of its quotes; give {right}")
    if form is _INTEGER and re.fullmatch(r"[-+]?0[0-9_]+", text):
        raise ValueProblem(f"{quoted(text)} begins with a zero, octal to YAML; give {right}")
    if text.lower().lstrip("+-") in (".nan", ".inf", "nan", "inf"):
        raise ValueProblem(f"{quoted(text)} is not {what} to work with; give {right}")
    if re.fullmatch(r"[-+]?[0-9]+,[0-9]+", text):
        raise ValueProblem(f"{quoted(text)} has a comma for its point; give {right}")
    if re.fullmatch(r"[-+]?[0-9.]+ *[A-Za-z%]+", text) and not re.match(r"0[xob]", text):
        raise ValueProblem(f"{quoted(text)} has a unit after it; give {right}")
    raise ValueProblem(f"{quoted(text)} is not {what}; give {right}")


def _in_range(value: Any, setting: Setting) -> Any:
    rule = setting.rule
    low = rule.least is not None and value < rule.least
    high = rule.most is not None and value > rule.most
    if low or high or not math.isfinite(value):
        size = "too small" if low else "too large"
        raise ValueProblem(f"{value:g} is {size}; give {expected(setting)}")
    return value


def _check_text(text: str, setting: Setting, use: str) -> None:
    rule = setting.rule
    use = rule.use or use
    if _CONTROL.search(text):
        raise ValueProblem(f"{quoted(text)} holds a control character; give {expected(setting)}")
    if _SURROGATE.search(text):
        # YAML's "\ud83d\ude00" is two of them; neither can be sent, stored or printed.
        what = "holds half a character (\\ud800 to \\udfff); write the character itself"
        raise ValueProblem(f"{quoted(text)} {what}; give {expected(setting)}")
    if rule.choices and text not in rule.choices:
        meant = text.strip().lower()
        right = meant if meant in rule.choices else expected(setting)
        raise ValueProblem(f"{quoted(text)} is unknown; give {right}")
    problem = fault(use, text) if use and text.strip() else None
    if problem is not None:
        raise ValueProblem(f"{quoted(text)} {problem}")
    if rule.pattern and not re.fullmatch(rule.pattern, text):
        raise ValueProblem(f"{quoted(text)} cannot be used; give {expected(setting)}")
    if not text.strip():
        raise ValueProblem(f"is blank; give {expected(setting)}")
