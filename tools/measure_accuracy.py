"""How often the product is wrong, on a folder of speech.

    python -m tools.measure_accuracy FOLDER [--json FILE]

FOLDER holds `read_sentences/SPEAKER/*.flac` and `same_phrase/SPEAKER/PHRASE/*.flac`; either may
be missing. Every recording goes through the product's own end-pointer, models and scores. A part
of the recordings then goes through the whole daemon, file in and decision out, and the scores in
its decisions are held against those computed here.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from edge.evaluation.corpus import Spoken, analyse_all, find_items, grouped, refusals
from edge.evaluation.metrics import eer, error_curves, false_reject_at
from edge.recognition import Engine
from tools.end_to_end import agreement
from tools.trials import Trials, joined, phrase_trials, voice_trials

CALM = ("neutral", "calm")
ENROLLED = 3


def figures(trials: Trials, threshold: float) -> dict[str, Any]:
    """The error rates of a list of trials, in percent, and those at the product's threshold."""
    thresholds, rejects, accepts = error_curves(trials.targets, trials.nontargets)
    at = int(min(len(thresholds) - 1, (thresholds < threshold).sum()))
    equal = eer(trials.targets, trials.nontargets)
    strict = false_reject_at(trials.targets, trials.nontargets, 0.001)
    return {
        "targets": len(trials.targets),
        "nontargets": len(trials.nontargets),
        "eer_percent": round(100 * equal.rate, 3),
        "eer_threshold": round(equal.threshold, 4),
        "false_reject_percent_at_far_0.1_percent": round(100 * strict.rate, 3),
        "threshold": round(threshold, 4),
        "false_reject_percent": round(100 * float(rejects[at]), 3),
        "false_accept_percent": round(100 * float(accepts[at]), 4),
    }


def read_sentences(engine: Engine, folder: Path) -> dict[str, Any]:
    """Voices only, whatever is said: three sentences enrolled, the rest tested."""
    items = find_items(folder)
    spoken = analyse_all(engine, items, with_phrase=False, track=track)
    groups = [
        (key[0], own[:ENROLLED], own[ENROLLED:])
        for key, own in grouped(spoken, lambda item: (item.speaker,)).items()
        if len(own) > ENROLLED
    ]
    trials = voice_trials(groups, ENROLLED)
    return {
        "read sentences: voice": {
            **figures(trials, engine.thresholds.voice),
            "recordings": len(items),
            "refused": refusals(items, spoken),
        }
    }


def same_phrase(engine: Engine, folder: Path) -> dict[str, Any]:
    """Three calm sayings of a phrase enrolled; calm ones tested, and again excited ones."""
    items = find_items(folder)
    spoken = analyse_all(engine, items, with_phrase=True, track=track)
    groups = grouped(spoken, lambda item: (item.speaker, item.phrase))
    styled = any(one.item.style in CALM for one in spoken)

    def is_calm(one: Spoken) -> bool:
        return not styled or one.item.style in CALM

    results: dict[str, Any] = {}
    counts = {"recordings": len(items), "refused": refusals(items, spoken)}
    for label, keep in (("calm", is_calm), ("excited", lambda one: not is_calm(one))):
        voices = []
        for phrase in sorted({key[1] for key in groups}):
            # The impostor says the same phrase: what else would somebody try at a door?
            rows = [
                (key[0], [one for one in own if is_calm(one)], [one for one in own if keep(one)])
                for key, own in groups.items()
                if key[1] == phrase
            ]
            if any(tested for _, _, tested in rows):
                voices.append(voice_trials(rows, ENROLLED))
        if not voices:
            continue
        results[f"same phrase, {label}: voice"] = {
            **figures(joined(voices), engine.thresholds.voice),
            **counts,
        }
        phrases = [
            phrase_trials(
                [one for one in own if is_calm(one)],
                [one for one in own if keep(one)],
                [
                    one
                    for other, said in groups.items()
                    if other[0] == key[0] and other[1] != key[1]
                    for one in said
                    if keep(one)
                ],
                ENROLLED,
            )
            for key, own in groups.items()
        ]
        limit = -engine.thresholds.phrase
        results[f"same phrase, {label}: phrase"] = figures(joined(phrases), limit)
    return results


def show(results: dict[str, Any], console: Console) -> None:
    """Print the table."""
    table = Table("trials", title="Error rates (percent)")
    for heading in ("right", "wrong", "EER", "FR at\n0.1 % FA", "FR\nshipped", "FA\nshipped"):
        table.add_column(heading, justify="right")
    for name, row in results.items():
        table.add_row(
            name,
            str(row["targets"]),
            str(row["nontargets"]),
            f"{row['eer_percent']:.2f}",
            f"{row['false_reject_percent_at_far_0.1_percent']:.2f}",
            f"{row['false_reject_percent']:.2f}",
            f"{row['false_accept_percent']:.3f}",
        )
    console.print(table)
    console.print("FR: false rejects; FA: false accepts; shipped: at the cards' thresholds")
    for name, row in results.items():
        if "recordings" in row:
            corpus = name.split(":")[0].split(",")[0]
            refused = row["refused"] or "none"
            console.print(f"{corpus}: of {row['recordings']} recordings, not judged: {refused}")


def main(arguments: list[str]) -> int:
    """Measure, print, and write JSON where asked to."""
    parser = argparse.ArgumentParser(prog="python -m tools.measure_accuracy", description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("../shared/speech"))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args(arguments)
    # A report that goes to a file must not be folded to the width of no terminal.
    console = Console(width=None if sys.stdout.isatty() else 100)
    engine = Engine.open()
    results: dict[str, Any] = {}
    if (options.folder / "read_sentences").is_dir():
        results.update(read_sentences(engine, options.folder / "read_sentences"))
    if (options.folder / "same_phrase").is_dir():
        results.update(same_phrase(engine, options.folder / "same_phrase"))
    if not results:
        console.print(f"{options.folder} holds neither read_sentences nor same_phrase")
        return 2
    show(results, console)
    report: dict[str, Any] = {"error_rates": results}
    if (options.folder / "same_phrase").is_dir():
        report["end_to_end"] = agreement(engine, options.folder / "same_phrase")
        console.print(
            "daemon against offline, {decisions} decisions: largest difference of a voice score "
            "{largest_voice_difference:.6f}, of a phrase distance "
            "{largest_phrase_difference:.6f}; {disagreements} decided otherwise".format(
                **report["end_to_end"]
            )
        )
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
