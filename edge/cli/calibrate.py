"""`edge-voice calibrate`: set the configuration to what an evaluation suggests."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edge.cli import options
from edge.cli.evaluate import add_enroll, evaluated
from edge.cli.output import complain, show, show_result
from edge.cli.prompts import confirmed
from edge.errors import EXIT_REJECTED, ConfigError, StoreError

if TYPE_CHECKING:
    from edge.config import Config
    from edge.evaluation.results import Suggestion

HELP = "set the configuration to what an evaluation suggests"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what it takes."""
    parser.description = (
        "Sets security.false_accept_rate in the configuration file to what an evaluation suggests."
        " Nothing else in the file changes; the old file is kept with .bak added to its name."
    )
    parser.add_argument(
        "source",
        metavar="REPORT_OR_FOLDER",
        type=Path,
        help="report.json, the folder that holds it, or recordings to evaluate",
    )
    parser.add_argument("--yes", action="store_true", help="do not ask")
    add_enroll(parser)


def run(args: argparse.Namespace) -> int:
    """Apply the suggestion; 0 if it is in the file, 1 if it was declined."""
    from edge.config import find_config
    from edge.config.editing import changed, replace_file
    from edge.config.loading import parse_config, read_config
    from edge.evaluation.results import laxer_than

    file = find_config(args.config)
    if file is None:
        raise ConfigError(
            "no configuration file to change; copy config/edge-voice.yaml to"
            " ~/.config/edge-voice/config.yaml, or name one with --config"
        )
    former = read_config(file)
    config = parse_config(former, file)
    suggestion = _suggestion(args, config)
    new = changed(former, file, {"security.false_accept_rate": suggestion.preset})
    old = config.security.false_accept_rate
    done = {"file": str(file), "former": old, "false_accept_rate": suggestion.preset}
    if not args.json:
        show(f"Suggestion: {suggestion.reason}")
    cost = laxer_than(config.security, suggestion.preset)
    for warning in (*suggestion.warnings, *[cost] * bool(cost)):
        complain(warning)
    if old == suggestion.preset:
        unchanged = {**done, "changed": False, "backup": None}
        return show_result(args, unchanged, f"{file}: already {old}, nothing to change.")
    question = f"Set security.false_accept_rate in {file} from {old} to {suggestion.preset}?"
    if not confirmed(question, yes=args.yes):
        return EXIT_REJECTED
    backup = replace_file(file, former, new)
    _audit(config, former=str(old), now=suggestion.preset)
    return show_result(
        args,
        {**done, "changed": True, "backup": str(backup)},
        f"{file}: security.false_accept_rate is now {suggestion.preset} (was {old}).",
        f"Old file: {backup}. Restart the service to use the new one.",
    )


def _audit(config: Config, former: str, now: str) -> None:
    from edge.store import open_store

    try:
        with open_store(config.state_path, settings=config.store) as store:
            options.audit(
                store, config, "change", what="security.false_accept_rate", former=former, now=now
            )
    except StoreError as error:
        complain(f"done, but not in the audit trail: {error}")


def _suggestion(args: argparse.Namespace, config: Config) -> Suggestion:
    from edge.evaluation.report import find_report, read_suggestion

    report = find_report(args.source)
    if report.is_dir():
        args.folder = args.source
        return evaluated(args).evaluation.suggestion
    from edge.recognition.embedders import open_models

    models = open_models(config.models_directory, threads=config.recognition.threads)
    return read_suggestion(report, models.speaker.sha256, models.phrase.sha256)
