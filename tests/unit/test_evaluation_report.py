"""The suggestion, the report in words, HTML and JSON, and the report read again."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from edge.cli.evaluate import keep_summary
from edge.config import Config
from edge.config.settings import FALSE_ACCEPT_PRESETS as PRESET_RATES
from edge.config.settings import SecurityConfig
from edge.errors import EnvironmentFault, InputError
from edge.evaluation import results
from edge.evaluation.evaluate import Evaluated
from edge.evaluation.report import (
    find_report,
    html_page,
    make_folder,
    read_suggestion,
    write_report,
)
from edge.evaluation.results import Figure, PresetFigures, laxer_than, suggest
from edge.evaluation.trials import PRESETS
from edge.store.device_state import DeviceState
from tests.unit.evaluation import THRESHOLDS, evaluation_of, voices

HOSTILE = "<script>alert('x')</script>\"&\nhome"


def presets(
    *rejects: float, trials: int = 200, accepted: Figure | None = None
) -> list[PresetFigures]:
    strangers = accepted or Figure(0.0, 0.0, 0.001, 100_000, 0)
    return [
        PresetFigures(
            name, asked, 0.0, Figure(rate, rate / 2, rate * 2, trials), (("IC", strangers),)
        )
        for (name, asked), rate in zip(PRESETS, rejects)
    ]


@pytest.mark.parametrize(
    ("rejects", "door", "expected"),
    [
        ((0.0, 0.01, 0.05), "balanced", "strict"),
        ((0.0, 0.05, 0.0501), "balanced", "balanced"),
        ((0.04, 0.2, 0.3), "balanced", "relaxed"),
        ((0.0, 0.0, 0.0), "balanced", "strict"),
        # Nothing is bearable: the door stays as strict as it is, or the next stricter preset.
        ((0.1, 0.2, 0.3), "relaxed", "relaxed"),
        ((0.1, 0.2, 0.3), "balanced", "balanced"),
        ((0.1, 0.1, 0.3), "strict", "strict"),
        ((0.1, 0.2, 0.3), 0.0005, "strict"),
        ((0.1, 0.2, 0.3), 0.05, "relaxed"),
        ((0.1, 0.2, 0.3), 0.00001, "strict"),
    ],
)
def test_suggests_the_strictest_that_residents_can_bear(
    rejects: tuple[float, float, float], door: str | float, expected: str
) -> None:
    security = SecurityConfig(false_accept_rate=door)
    suggestion = suggest(presets(*rejects), 20, security)
    assert suggestion.preset == expected
    assert suggestion.preset in suggestion.reason
    assert suggestion.warnings == ()
    laxer = PRESET_RATES[expected] > security.far
    assert ("attempts by strangers would be accepted" in suggestion.reason) is laxer


@pytest.mark.parametrize(
    ("door", "preset", "cost"),
    [
        ("balanced", "relaxed", "present setting (balanced): about 9 more of 1,000 attempts"),
        ("strict", "relaxed", "present setting (strict): about 9.9 more of 1,000 attempts"),
        ("strict", "balanced", "present setting (strict): about 0.9 more of 1,000 attempts"),
        (0.002, "relaxed", "present setting (1 in 500): about 8 more of 1,000 attempts"),
    ],
)
def test_a_laxer_setting_comes_with_its_cost(door: str | float, preset: str, cost: str) -> None:
    assert cost in laxer_than(SecurityConfig(false_accept_rate=door), preset)


@pytest.mark.parametrize(("door", "preset"), [("relaxed", "relaxed"), ("relaxed", "strict")])
def test_what_is_no_laxer_costs_nothing(door: str, preset: str) -> None:
    assert laxer_than(SecurityConfig(false_accept_rate=door), preset) == ""


def test_the_cost_is_what_was_measured_where_that_is_more() -> None:
    def accepting(errors: int) -> Figure:
        return Figure(errors / 500, 0.0, 1.0, 500, errors)

    found = [
        dataclasses.replace(one, false_accepts=(("IC", accepting(errors)),))
        for one, errors in zip(presets(0, 0.2, 0.2), (40, 3, 0))
    ]
    assert "about 74 more of 1,000 attempts" in suggest(found, 20, SecurityConfig()).reason


def test_warns_of_what_cannot_be_told() -> None:
    (few_people,) = suggest(presets(0, 0, 0), 4, SecurityConfig()).warnings
    assert few_people.startswith("4 people are too few")
    (few_recordings,) = suggest(presets(0, 0, 0, trials=12), 20, SecurityConfig()).warnings
    assert few_recordings.startswith("12 attempts by residents are few")
    alarming = Figure(0.02, 0.01, 0.03, 1_000, 20)
    (often,) = suggest(presets(0, 0, 0, accepted=alarming), 20, SecurityConfig()).warnings
    assert "20 of 1,000" in often
    nobody = [dataclasses.replace(one, false_accepts=()) for one in presets(0, 0, 0)]
    (unknown,) = suggest(nobody, 20, SecurityConfig()).warnings
    assert "each other's phrases" in unknown


@pytest.mark.parametrize(
    ("rate", "text"),
    [(0.0, "0 %"), (0.123, "12 %"), (0.0994, "9.9 %"), (0.0996, "10 %"), (0.00012, "0.012 %")],
)
def test_percent(rate: float, text: str) -> None:
    assert results.percent(rate) == text


def test_figures_in_words() -> None:
    assert results.figure_words(Figure(0.01, 0.005, 0.02, 500)) == "1 % (0.5 % to 2 %)"
    assert results.figure_words(Figure(0.0, 0.0, 0.02, 150, 0)) == "0 % (at most 2 %)"
    assert results.figure_words(Figure(None, None, None, 500)) == "too few trials (500)"
    few = results.figure_words(Figure(None, 0.0, 0.1, 500, 0))
    assert few == "0 of 500 (at most 10 %)"
    assert results.one_in(0.0001) == "1 in 10,000"


def test_sentences_for_the_residents() -> None:
    evaluation = dataclasses.replace(evaluation_of(), by_phrase=True)

    def says(accepted: Figure) -> str:
        return results.strangers_sentence(evaluation, presets(0, 0, 0, accepted=accepted)[0])

    assert says(Figure(0.0034, 0.001, 0.006, 5_000, 17)) == (
        "About 3.4 of 1,000 attempts by strangers who know the phrase would be accepted"
        " (at most 0.6 %)."
    )
    assert says(Figure(0.0003, 0.0, 0.0006, 50_000, 15)) == (
        "About 3 of 10,000 attempts by strangers who know the phrase would be accepted"
        " (at most 0.06 %)."
    )
    assert says(Figure(None, 0.0, 0.0951, 500, 0)) == (
        "None of 500 attempts by strangers who know the phrase was accepted, so at most 9.5 % of"
        " them would be."
    )
    assert results.residents_sentence(presets(0.04, 0, 0)[0]) == (
        "Residents are rejected 4 times in 100 (2 % to 8 %)."
    )
    everybody = dataclasses.replace(presets(0, 0, 0)[0], false_reject=Figure(1.0, 0.9, 1.0, 30))
    assert results.residents_sentence(everybody) == (
        "Residents are rejected 100 times in 100 (90 % to 100 %)."
    )


@pytest.mark.parametrize("high", [0.184, 0.185, 0.632, 0.0995])
def test_a_limit_is_the_same_figure_in_the_table_and_in_the_sentence(high: float) -> None:
    """It was 18 % here and 19 of 100 there."""
    figure = Figure(None, 0.0, high, 84, 0)
    evaluation = dataclasses.replace(evaluation_of(), by_phrase=True)
    sentence = results.strangers_sentence(evaluation, presets(0, 0, 0, accepted=figure)[0])
    limit = results.figure_words(figure).partition("at most ")[2].rstrip(")")
    assert f"at most {limit} of them" in sentence


class Page(HTMLParser):
    """What a browser would make of the page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_runs_nothing_and_loads_nothing() -> None:
    evaluation = evaluation_of(folder=HOSTILE)
    page = Page(html_page(evaluation, b"one", b"two"))
    assert "script" not in {tag for tag, _ in page.tags}
    assert page.open == []
    assert HOSTILE in page.text
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href"):
            assert (attributes.get(name) or "data:image/png;base64,").startswith("data:image/png")
    assert [tag for tag, _ in page.tags].count("img") == 2


def test_the_page_says_what_was_found() -> None:
    page = Page(html_page(evaluation_of(), b"", b""))
    for text in (
        "suggested setting",
        "too noisy 2",
        "1 in 10,000",
        "0 of 280 (at most",
        "minDCF",
        "Turned away at strict",
        "<ada>2.wavthe voice did not match",
        "guest1.wavtoo noisy (3 dB)",
    ):
        assert text in page.text


@pytest.fixture
def written(tmp_path: Path) -> dict[str, Path]:
    trials = voices()
    evaluated = Evaluated(evaluation_of(trials, HOSTILE + "\udcff"), trials, THRESHOLDS)
    return write_report(evaluated, tmp_path / "new" / "report")


def test_the_files(written: dict[str, Path]) -> None:
    assert sorted(written) == ["det.png", "report.html", "report.json", "scores.png"]
    for name in ("det.png", "scores.png"):
        assert written[name].read_bytes().startswith(b"\x89PNG")
    content = json.loads(written["report.json"].read_bytes())
    assert content["format"] == "edge-voice evaluation"
    assert content["presets"][1]["false_accepts"]["impostor"]["trials"] == 280
    assert content["kinds"][0]["false_rejects"][0]["false_accept_rate"] == 0.01
    # Every plot is in the page itself.
    page = written["report.html"].read_text(encoding="utf-8")
    assert len(re.findall(r"data:image/png;base64,[A-Za-z0-9+/=]{1000,}", page)) == 2


def test_a_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(EnvironmentFault, match="--output"):
        make_folder(tmp_path / "file" / "report")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_report_is_read_again(written: dict[str, Path]) -> None:
    report = find_report(written["report.json"].parent)
    assert report == written["report.json"]
    suggestion = read_suggestion(report, "1" * 64, "2" * 64)
    assert suggestion == evaluation_of().suggestion


def _without(key: str) -> Callable[[dict[str, Any]], Any]:
    return lambda content: {name: value for name, value in content.items() if name != key}


def _with(key: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda content: {**content, key: value}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_without("format"), "not a report"),
        (_with("version", 2), "not a report"),
        (_with("speaker_model", "3" * 64), "another speaker model"),
        (_without("phrase_model"), "another phrase model"),
        (_with("suggestion", "strict"), "no suggestion"),
        (_with("suggestion", {"preset": "off", "reason": "", "warnings": []}), "'off'"),
        (_with("suggestion", {"preset": 1, "reason": "", "warnings": []}), "invalid suggestion"),
        (
            _with("suggestion", {"preset": "strict", "reason": "", "warnings": "x"}),
            "invalid suggestion",
        ),
        (lambda content: [content], "not a report"),
        (lambda _: "x" * 2_000_000, "too large"),
    ],
)
def test_a_foreign_or_damaged_report_is_refused(
    written: dict[str, Path], spoil: Callable[[dict[str, Any]], Any], message: str
) -> None:
    report = written["report.json"]
    report.write_text(json.dumps(spoil(json.loads(report.read_bytes()))))
    with pytest.raises(InputError, match=message) as caught:
        read_suggestion(report, "1" * 64, "2" * 64)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\x00", "NaN"])
def test_what_is_no_report_at_all(tmp_path: Path, text: str) -> None:
    file = tmp_path / "report.json"
    file.write_text(text)
    with pytest.raises(InputError, match="evaluate"):
        read_suggestion(file, "1" * 64, "2" * 64)
    with pytest.raises(InputError, match="not a file"):
        read_suggestion(tmp_path / "absent", "1" * 64, "2" * 64)


def test_the_device_keeps_a_small_summary_for_its_page_without_names(tmp_path: Path) -> None:
    evaluation = evaluation_of()
    config = Config(state_directory=tmp_path)
    keep_summary(config, evaluation)
    assert list(tmp_path.iterdir()) == [], "nobody's device: nothing is made"
    with contextlib.closing(DeviceState(tmp_path)) as state:
        keep_summary(config, evaluation)
        text = state.get(results.SUMMARY_KEY) or ""
    summary = json.loads(text)
    assert summary == evaluation.summary()
    assert (summary["people"], summary["suggested"]) == (8, evaluation.suggestion.preset)
    assert [each["name"] for each in summary["presets"]] == ["relaxed", "balanced", "strict"]
    assert "ada" not in text
    assert len(text) < 2_000
