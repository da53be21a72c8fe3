"""`evaluate` and `calibrate` from recordings to the configuration, with the real models."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from soundfile import write

from edge.cli.main import main
from edge.config import load_config
from edge.recognition import Engine
from edge.resources import demo_directory
from edge.types import SAMPLE_RATE

pytest.importorskip("matplotlib")

RECORDINGS = demo_directory()
PHRASES = {
    "Ada/cinnamon": ("ada_enroll_1", "ada_enroll_2", "ada_enroll_3", "ada_right_phrase"),
    "Ada/kitchen": ("ada_wrong_phrase",),
    "Robin/herons": ("robin_enroll_1", "robin_enroll_2", "robin_enroll_3", "robin_right_phrase"),
    "Robin/near": ("robin_near_phrase",),
    "Guest/cinnamon": ("stranger_adas_phrase",),
}

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module", autouse=True)
def engine() -> Iterator[None]:
    """The real models, opened once for all of these tests and not for each command."""
    opened = Engine.open()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engine, "open", lambda _config: opened)
        yield


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "config.yaml"
    file.write_text(
        "# Our door.\nstate_directory: state\nsecurity:\n  false_accept_rate: 0.05 # ?\n"
    )
    monkeypatch.setenv("EDGE_VOICE_CONFIG", str(file))
    return file


@pytest.fixture
def phrases(tmp_path: Path) -> Path:
    folder = tmp_path / "<b>house"
    for name, files in PHRASES.items():
        (folder / name).mkdir(parents=True)
        for file in files:
            shutil.copy(RECORDINGS / f"{file}.flac", folder / name)
    return folder


def evaluate(capture: Capture, folder: Path, output: Path, *more: str) -> dict[str, Any]:
    capture.readouterr()
    assert main(["evaluate", str(folder), "--output", str(output), "--json", *more]) == 0
    (line,) = capture.readouterr().out.splitlines()
    value: dict[str, Any] = json.loads(line)
    return value


def test_from_recordings_to_the_configuration(
    config: Path, phrases: Path, tmp_path: Path, capsys: Capture
) -> None:
    output = tmp_path / "report"
    found = evaluate(capsys, phrases, output)
    assert found == json.loads((output / "report.json").read_text(encoding="utf-8"))
    assert (found["people"], found["profiles"], found["recordings"], found["tested"]) == (
        3,
        2,
        11,
        5,
    )
    assert [kind["kind"] for kind in found["kinds"]] == ["IC", "TW", "IW", "all"]
    balanced = found["presets"][1]
    # What the demo shows at the door: the two get in, and nobody and nothing else does.
    assert balanced["false_reject"]["errors"] == 0
    assert [kind["errors"] for kind in balanced["false_accepts"].values()] == [0, 0, 0]
    assert balanced["false_accepts"]["IC"]["value"] is None
    page = (output / "report.html").read_text(encoding="utf-8")
    assert "0 of 1 (at most 95 %)" in page
    assert "&lt;b&gt;house" in page
    assert "<b>house" not in page

    suggested = found["suggestion"]["preset"]
    assert suggested == "strict"
    assert main(["calibrate", str(output), "--yes"]) == 0
    assert load_config(config).security.false_accept_rate == suggested
    former = "# Our door.\nstate_directory: state\nsecurity:\n  false_accept_rate: 0.05 # ?\n"
    assert config.read_text() == former.replace("0.05", suggested)
    assert Path(f"{config}.bak").read_text() == former
    assert main(["calibrate", str(output / "report.json"), "--yes"]) == 0
    assert "nothing to change" in capsys.readouterr().out
    assert Path(f"{config}.bak").read_text() == former

    # A laxer setting than the door's is not taken without its cost.
    report = output / "report.json"
    report.write_text(report.read_text().replace(f'"preset": "{suggested}"', '"preset": "relaxed"'))
    assert main(["calibrate", str(report), "--yes"]) == 0
    assert "about 9.9 more of 1,000 attempts by strangers" in capsys.readouterr().err


def test_voices_and_a_file_that_cannot_be_read(
    config: Path, tmp_path: Path, capsys: Capture
) -> None:
    folder = tmp_path / "voices"
    for person in ("ada", "robin"):
        (folder / person).mkdir(parents=True)
        for file in RECORDINGS.glob(f"{person}_*.flac"):
            shutil.copy(file, folder / person)
    (folder / "ada" / "broken.wav").write_bytes(b"RIFF not at all")
    write(folder / "robin" / "silent.wav", np.zeros(2 * SAMPLE_RATE), SAMPLE_RATE)
    output = tmp_path / "report"
    assert main(["evaluate", str(folder), "--output", str(output), "--enroll", "2"]) == 0
    shown = capsys.readouterr()
    complaints = [line for line in shown.err.splitlines() if "broken.wav" in line]
    assert len(complaints) == 1
    assert complaints[0].startswith("edge-voice: warning: skipped: ")
    assert "not usable: no speech found 1, cannot be read 1" in shown.out
    named = shown.out.partition("Not judged, and not in the figures: 1 recording\n")[2]
    assert named.splitlines()[1].split(maxsplit=3) == [
        *("robin", "(1)", "silent.wav", "no speech was found")
    ]
    assert "Accepted here: stranger." in shown.out
    assert "Traceback" not in shown.err
    content = json.loads((output / "report.json").read_text(encoding="utf-8"))
    assert [kind["kind"] for kind in content["kinds"]] == ["impostor"]
    assert content["refused"] == {"no speech found": 1, "cannot be read": 1}
    (unheard,) = content["not_judged"]
    assert unheard == {
        "person": "robin",
        "recording": "silent.wav",
        "reason": "no_speech",
        "why": "no speech was found",
    }
    assert content["turned_away"] == []


def test_calibrate_asks_first(
    config: Path, phrases: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", (tmp_path / "nothing").open("w+"))
    former = config.read_bytes()
    assert main(["calibrate", str(phrases)]) == 2  # recordings, evaluated on the way
    assert "--yes" in capsys.readouterr().err
    assert config.read_bytes() == former


def test_a_report_of_another_model_changes_nothing(
    config: Path, phrases: Path, tmp_path: Path, capsys: Capture
) -> None:
    output = tmp_path / "report"
    evaluate(capsys, phrases, output)
    report = output / "report.json"
    report.write_text(report.read_text().replace('"speaker_model": "', '"speaker_model": "0'))
    former = config.read_bytes()
    assert main(["calibrate", str(output), "--yes"]) == 2
    assert "another speaker model" in capsys.readouterr().err
    assert config.read_bytes() == former


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "absent"], "no such folder"),
        (["evaluate", "empty"], "no recordings"),
        (["evaluate", "mixed"], "evaluate each"),
        (["evaluate", "lonely"], "takes two people"),
        (["evaluate", "lonely", "--enroll", "0"], "--enroll"),
        (["evaluate", "lonely", "--enroll", "²"], "--enroll"),
        (["evaluate"], "FOLDER"),
        (["calibrate", "absent", "--yes"], "not a file"),
        (["calibrate", "empty", "--yes"], "no recordings"),
        (["calibrate", "config.yaml", "--yes"], "not JSON"),
    ],
)
def test_bad_input_is_one_line_and_2(
    config: Path,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    (tmp_path / "empty").mkdir()
    sound = RECORDINGS / "ada_enroll_1.flac"
    for name in ("mixed/ada", "mixed/ada/phrase", "lonely/ada"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        shutil.copy(sound, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.splitlines()
    assert line.startswith("edge-voice: error: ")
    assert message in line
    assert not (tmp_path / "edge-voice-evaluation").exists()


def test_without_matplotlib(
    config: Path, phrases: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["evaluate", str(phrases)]) == 3
    assert "edge-voice[evaluate]" in capsys.readouterr().err


def test_other_commands_do_not_load_it() -> None:
    code = (
        "import sys, edge.cli.evaluate, edge.cli.calibrate, edge.service;"
        "parts = ('matplotlib', 'edge.evaluation');"
        "print([name for name in sys.modules if name.startswith(parts)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
