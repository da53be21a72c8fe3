"""The report as JSON and as one self-contained page of HTML, without script; texts are escaped."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

from edge.config.settings import FALSE_ACCEPT_PRESETS
from edge.errors import EnvironmentFault, InputError
from edge.evaluation.evaluate import Evaluated
from edge.evaluation.metrics import TRIALS_A_RATE_NEEDS
from edge.evaluation.plots import det_plot, score_plot
from edge.evaluation.results import (
    FORMAT,
    LABELS,
    VERSION,
    Evaluation,
    Suggestion,
    cost_words,
    figure_words,
    one_in,
    residents_sentence,
    strangers_sentence,
)
from edge.evaluation.turned_away import TurnedAway

JSON_NAME = "report.json"
HTML_NAME = "report.html"

_STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; }
h2 { font-size: 1.15rem; margin-top: 2rem; }
.made { opacity: 0.75; margin-top: 0.2rem; }
.answer { border-left: 0.3rem solid #0072B2; padding: 0.2rem 0 0.2rem 1rem; font-size: 1.1rem; }
.warning { border-left: 0.3rem solid #D55E00; padding-left: 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 0.9rem; }
th, td { border-bottom: 1px solid #8886; padding: 0.35rem 0.6rem 0.35rem 0; text-align: left;
         vertical-align: top; }
tr.suggested td { font-weight: 600; }
img { max-width: 100%; background: white; border-radius: 0.4rem; }
.small { font-size: 0.85rem; opacity: 0.85; }
@media print {
  :root { color-scheme: light; }
  body { margin: 0; max-width: none; font-size: 10pt; }
  img { max-height: 11cm; }
  h2, tr, img { break-inside: avoid; break-after: avoid; }
}
"""


_MAX_BYTES = 1024 * 1024
_MAX_TEXT = 2_000


def write_report(evaluated: Evaluated, folder: Path) -> dict[str, Path]:
    """Write the page, JSON and plots; returns the files by name. Raises `EnvironmentFault`."""
    det = det_plot(evaluated.trials, evaluated.thresholds)
    scores = score_plot(evaluated.trials, evaluated.thresholds)
    page = html_page(evaluated.evaluation, det, scores)
    content = json.dumps(evaluated.evaluation.as_dict(), indent=2, ensure_ascii=False) + "\n"
    files = {
        "det.png": det,
        "scores.png": scores,
        # A folder's name may not be valid text; Python then keeps lone surrogates.
        JSON_NAME: content.encode("utf-8", "replace"),
        HTML_NAME: page.encode("utf-8", "replace"),
    }
    make_folder(folder)
    for name, data in files.items():
        with _writing(folder / name):
            (folder / name).write_bytes(data)
    return {name: folder / name for name in files}


def make_folder(folder: Path) -> None:
    """Create the folder of the report if it does not exist. Raises `EnvironmentFault`."""
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a usable name"
        raise EnvironmentFault(
            f"{path}: cannot be written ({reason}); name another folder with --output"
        ) from error


def html_page(evaluation: Evaluation, det: bytes, scores: bytes) -> str:
    """The report as one page of HTML; `det` and `scores` are its plots, PNG."""
    suggestion = evaluation.suggestion
    made_at = evaluation.created_at[:16].replace("T", " ") + " UTC"
    made = f"{evaluation.folder}, {made_at}, Edge Voice {evaluation.software}"
    parts = [
        f"<h1>Edge Voice: evaluation with {evaluation.people} people</h1>",
        f'<p class="made">{escape(made)}</p>',
        _answer(evaluation),
        *(f'<p class="warning">{escape(text)}</p>' for text in suggestion.warnings),
        "<h2>Settings</h2>",
        _presets(evaluation),
        *_named(f"Turned away at {suggestion.preset}", evaluation.turned_away),
        *_named("Not judged, and not in the figures", evaluation.not_judged),
        "<h2>Measurements</h2>",
        _counts(evaluation),
        _kinds(evaluation),
        f'<p class="small">{escape(_notes(evaluation))}</p>',
        "<h2>Error trade-off</h2>",
        _image(det, "Detection error trade-off: false rejects against false accepts"),
        "<h2>Scores</h2>",
        _image(scores, "Distribution of the scores of each kind of trial"),
        "<h2>Suggested setting</h2>",
        f"<p><b>{escape(suggestion.preset)}</b>: {escape(suggestion.reason)}</p>",
        (
            "<p>To use it, run <code>edge-voice calibrate</code> with this report's folder, then"
            " restart the service.</p>"
        ),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Edge Voice: {escape(evaluation.folder)}</title>\n"
        f"<style>{_STYLE}</style>\n</head>\n<body>\n" + "\n".join(parts) + "\n</body>\n</html>\n"
    )


def _answer(evaluation: Evaluation) -> str:
    lines = [
        f"With the suggested setting, <b>{escape(evaluation.suggestion.preset)}</b>:",
        escape(strangers_sentence(evaluation, evaluation.suggested)),
        escape(residents_sentence(evaluation.suggested)),
    ]
    return f'<div class="answer"><p>{"<br>".join(lines)}</p></div>'


def _presets(evaluation: Evaluation) -> str:
    kinds = [kind for kind, _ in evaluation.presets[0].false_accepts]
    heading = ["setting", "false accepts", "residents rejected"]
    heading += [f"accepted: {LABELS[kind]}" for kind in kinds]
    rows = [
        [preset.name, one_in(preset.false_accept_rate), figure_words(preset.false_reject)]
        + [figure_words(figure) for _, figure in preset.false_accepts]
        for preset in evaluation.presets
    ]
    marked = [preset.name for preset in evaluation.presets].index(evaluation.suggestion.preset)
    return _table(heading, rows, marked)


def _counts(evaluation: Evaluation) -> str:
    refused = ", ".join(
        f"{reason.replace('_', ' ')} {count}" for reason, count in evaluation.refused.items()
    )
    unit = "phrases" if evaluation.by_phrase else "voices"
    rows = [
        ["people", str(evaluation.people)],
        ["recordings", f"{evaluation.recordings:,}"],
        ["not usable", refused or "none"],
        ["enrolled", f"{evaluation.profiles} {unit}, {evaluation.enroll} recordings each"],
        ["tested", f"{evaluation.tested:,} recordings"],
    ]
    return _table([], rows)


def _kinds(evaluation: Evaluation) -> str:
    heading = ["residents against", "trials", "equal error rate", "minDCF (NIST)"]
    heading += ["minDCF (challenge)"]
    heading += [f"rejected at {one_in(far)}" for far, _ in evaluation.kinds[0].false_rejects]
    rows = [
        [LABELS[row.kind], f"{row.trials:,}", figure_words(row.eer)]
        + [cost_words(row.min_dcf_nist), cost_words(row.min_dcf_challenge)]
        + [figure_words(figure) for _, figure in row.false_rejects]
        for row in evaluation.kinds
    ]
    return _table(heading, rows)


def _notes(evaluation: Evaluation) -> str:
    least = evaluation.kinds[0].false_rejects[-1][0]
    needed = f"{round(TRIALS_A_RATE_NEEDS / least):,}"
    return (
        "Recordings that are not usable do not count. In parentheses: 95 % confidence intervals,"
        " from a bootstrap over people, and at least as wide as the number of recordings (of"
        " residents) or pairs of people (for strangers) requires. 'Rejected at 1 in 1,000': the"
        " share of residents rejected where 1 in 1,000 of these others is accepted, which differs"
        " from what balanced gives, whose threshold was set on other people; measuring such a"
        f" rate takes {TRIALS_A_RATE_NEEDS} times as many trials as its denominator ({needed} for"
        f" {one_in(least)}). minDCF: minimum detection cost, 0 is perfect and 1 useless; NIST:"
        " P(target) 0.01, both errors cost 1; challenge (text-dependent speaker verification,"
        " 2024): a false reject costs 10."
    )


def _named(title: str, found: Sequence[TurnedAway]) -> list[str]:
    if not found:
        return []
    rows = [[one.person, one.recording, one.why] for one in found]
    return [f"<h2>{escape(title)}</h2>", _table(["person", "recording", "why"], rows)]


def _image(png: bytes, text: str) -> str:
    data = base64.b64encode(png).decode("ascii")
    return f'<p><img alt="{escape(text)}" src="data:image/png;base64,{data}"></p>'


def _table(heading: list[str], rows: Iterable[list[str]], marked: int = -1) -> str:
    lines = ['<div class="wide"><table>']
    if heading:
        lines.append(f"<tr>{''.join(f'<th>{escape(cell)}</th>' for cell in heading)}</tr>")
    for index, row in enumerate(rows):
        kind = ' class="suggested"' if index == marked else ""
        lines.append(f"<tr{kind}>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>")
    return "\n".join([*lines, "</table></div>"])


def find_report(path: Path) -> Path:
    """The report in a folder that `evaluate` wrote; any other path is returned as it is."""
    inside = path / JSON_NAME
    return inside if inside.is_file() else path


def read_suggestion(path: Path, speaker_model: str, phrase_model: str) -> Suggestion:
    """The suggestion in a report of the models with these SHA-256. Raises `InputError`."""
    content = _load(path)
    if content.get("format") != FORMAT or content.get("version") != VERSION:
        raise _refused(path, "not a report of this version of 'edge-voice evaluate'")
    for key, model in (("speaker_model", speaker_model), ("phrase_model", phrase_model)):
        if content.get(key) != model:
            what = key.replace("_", " ")
            raise _refused(path, f"made with another {what}")
    suggestion = content.get("suggestion")
    if not isinstance(suggestion, dict) or set(suggestion) != {"preset", "reason", "warnings"}:
        raise _refused(path, "has no suggestion")
    preset, reason, warnings = (suggestion[key] for key in ("preset", "reason", "warnings"))
    texts = [preset, reason, *(warnings if isinstance(warnings, list) else [None])]
    # They are shown on a terminal, which control characters could rewrite.
    if not all(
        isinstance(text, str) and len(text) <= _MAX_TEXT and text.isprintable() for text in texts
    ):
        raise _refused(path, "has an invalid suggestion")
    if preset not in FALSE_ACCEPT_PRESETS:
        raise _refused(path, f"suggests an unknown setting, {preset[:40]!r}")
    return Suggestion(preset, reason, tuple(warnings))


def _load(path: Path) -> dict[str, Any]:
    try:
        if not path.is_file():
            raise _refused(path, "not a file")
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a usable name"
        raise InputError(f"{path}: cannot be read ({reason})") from error
    if len(data) > _MAX_BYTES:
        raise _refused(path, "too large for a report")
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        raise _refused(path, "not JSON") from None
    if not isinstance(content, dict):
        raise _refused(path, "not a report")
    return content


def _refused(path: Path, what: str) -> InputError:
    return InputError(f"{path}: {what}; create one with 'edge-voice evaluate'")
