"""The page of every command, from the parsers of the program."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator
from typing import Any

from edge.cli import options
from edge.cli.main import COMMANDS, Parser
from tools.reference.words import MADE, prose, sentence, table

_INTRODUCTION = """\
# Every command

`edge-voice COMMAND --help` shows the same as this page.

## Exit codes

The same in every command:

| exit code | when |
| --- | --- |
| 0 | Done, or accepted. |
| 1 | Rejected: a voice, or somebody who does not confirm. An audit trail that was changed. |
| 2 | Used wrongly: an option or argument, or a name that nobody has. A file that is missing, \
cannot be read or is of another kind; one that is there already, where a new one is made. A \
configuration with mistakes. A passphrase that is too short, or another one. No terminal to ask \
at. |
| 3 | Something around it does not work: a file or folder cannot be written, the broker or the \
device does not answer, no microphone, the store of signatures or its key is missing or damaged, \
another service uses the same state. In `doctor`: something is red. |
| 130, 141 | Interrupted; nobody reads the output any more. |

## Options of every command

They go before or after the command's name.

"""


def page() -> str:
    """The whole page."""
    common = argparse.ArgumentParser(add_help=False)
    options.add_common(common)
    parts = [MADE.format(what="edge/cli"), _INTRODUCTION, _options(common, set())]
    known = {action.dest for action in common._actions}
    parts += [_command(parser_of(name), known, 2) for name in COMMANDS]
    return "".join(parts)


def parser_of(name: str) -> argparse.ArgumentParser:
    """The parser of a command, with all its options."""
    module: Any = importlib.import_module(f"edge.cli.{name}")
    parser = Parser(prog=f"edge-voice {name}", description=module.HELP)
    module.add_arguments(parser)
    return parser


def _command(parser: argparse.ArgumentParser, known: set[str], level: int) -> str:
    parts = [f"\n{'#' * level} `{parser.prog}`\n\n"]
    if parser.description:
        parts.append(f"{sentence(prose(parser.description))}\n\n")
    actions = list(_actions_of(parser))
    if not actions:
        parts.append(f"    {_usage(parser, known)}\n\n")
    rows = [
        (f"`{_shown(each)}`", sentence(prose(_help(each))))
        for each in parser._actions
        if not each.option_strings and not isinstance(each, argparse._SubParsersAction)
    ]
    if rows:
        parts.append(table(("argument", "meaning"), rows) + "\n")
    parts.append(_options(parser, known))
    parts += [_command(action, known, level + 1) for action in actions]
    return "".join(parts)


def _actions_of(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for listed in action._choices_actions:
                chosen = action.choices[listed.dest]
                chosen.prog = f"{parser.prog} {listed.dest}"
                chosen.description = chosen.description or listed.help
                yield chosen


def _options(parser: argparse.ArgumentParser, known: set[str]) -> str:
    rows = [
        (", ".join(f"`{name}`" for name in _names(each)), sentence(prose(_help(each))))
        for each in _own_options(parser, known)
    ]
    return table(("option", "what it does"), rows) + "\n" if rows else ""


def _own_options(parser: argparse.ArgumentParser, known: set[str]) -> list[argparse.Action]:
    return [
        each
        for each in parser._actions
        if each.option_strings and each.dest not in (*known, "help") and _help(each)
    ]


def _names(action: argparse.Action) -> list[str]:
    value = "" if action.nargs == 0 else f" {_shown(action)}"
    return [f"{name}{value}" for name in action.option_strings]


def _help(action: argparse.Action) -> str:
    if action.help is None or action.help is argparse.SUPPRESS:
        return ""
    return action.help % {"default": action.default, "prog": "edge-voice", "dest": action.dest}


def _usage(parser: argparse.ArgumentParser, known: set[str]) -> str:
    words = [parser.prog]
    if _own_options(parser, known):
        words.append("[options]")
    words += [_shown(each) for each in parser._actions if not each.option_strings]
    return " ".join(words)


def _shown(action: argparse.Action) -> str:
    name = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    if action.choices is not None and action.metavar is None:
        name = "{" + ",".join(map(str, action.choices)) + "}"
    forms = {"*": f"[{name} ...]", "+": f"{name} [{name} ...]", "?": f"[{name}]"}
    return forms.get(str(action.nargs), name)
