"""The page of every setting, from the table of settings."""

from __future__ import annotations

import typing
from pathlib import Path
from types import UnionType
from typing import Any

from edge.config import Setting, all_settings
from tools.reference.words import MADE, prose, sentence, unit

_INTRODUCTION = """\
# Every setting

One YAML file, the first of: `--config FILE`, `$EDGE_VOICE_CONFIG`, `/etc/edge-voice/config.yaml`,
`~/.config/edge-voice/config.yaml`. Settings that are left out or empty have their defaults.
[The commented file](../../config/edge-voice.yaml) has all of them. Three shorter ones are for
[trying it out](../../config/bench.yaml), [a home](../../config/home.yaml) and
[a front door](../../config/door.yaml).

    edge-voice config check

checks a file, and shows the line of every mistake and how to fix it. The service reads the file
when it starts, and again on `systemctl reload edge-voice` or the [command](mqtt.md#command)
`reload`; a file with a mistake changes nothing. File names that do not begin with `/` are relative
to the folder of the file.
"""


def page() -> str:
    """The whole page."""
    parts = [MADE.format(what="edge/config"), _INTRODUCTION]
    alone = [row for row in all_settings() if "." not in row.path and not row.is_section]
    for row in all_settings():
        if row.is_section:
            parts.append(f"\n## `{row.path}`\n\n{prose(row.rule.doc)}\n")
        elif row not in alone:
            parts.append(_entry(row))
    parts.append("\n## Without a section\n")
    parts += [_entry(row) for row in alone]
    return "".join(parts)


def _entry(row: Setting) -> str:
    facts = [_default(row), _allowed(row)]
    return (
        f"\n### `{row.path}`\n\n{prose(row.rule.doc)}\n\n"
        f"{' · '.join(fact for fact in facts if fact)}\n"
    )


def _default(row: Setting) -> str:
    if row.default is None:
        return f"Empty, the default: {prose(row.rule.empty)}"
    return f"Default: `{written(row.default)}`"


def written(value: Any) -> str:
    """A value as in the file."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _allowed(row: Setting) -> str:
    rule = row.rule
    union = isinstance(row.kind, UnionType)
    kinds = typing.get_args(row.kind) if union else (row.kind,)
    if bool in kinds:
        return "`true` or `false`"
    said = []
    if rule.choices:
        said.append(", ".join(f"`{choice}`" for choice in rule.choices))
    if int in kinds and str in kinds:
        return sentence(prose(rule.pattern_doc))
    if (int in kinds or float in kinds) and rule.least is not None and rule.most is not None:
        what = "a whole number" if int in kinds else "a number"
        measure = f" of {unit(rule.unit)}" if rule.unit else ""
        said.append(f"{what}{measure}, {_figure(rule.least)} to {_figure(rule.most)}")
    elif rule.pattern_doc and not rule.choices:
        said.append(prose(rule.pattern_doc))
    if Path in kinds:
        said.append("a file or folder")
    return sentence(" or ".join(said))


def _figure(value: float) -> str:
    return f"{value:g}" if abs(value) < 1e5 or value % 1 else f"{value:.0f}"
