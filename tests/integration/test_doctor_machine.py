"""The doctor at the machine: clock, service, models, processor, memory, disk, and whoever asks."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge.access.clock import LATEST_KEY
from edge.config import Config, MetricsConfig, MqttConfig
from edge.doctor import Finding, configuration, machine, service
from edge.doctor.context import Context, Unit, as_the_service, ask_systemd
from edge.mqtt import MqttPublisher
from edge.mqtt.connection import read_password
from edge.resources import models_directory
from edge.service.metrics import Metrics
from edge.store.device_state import DeviceState
from tests.integration.broker import free_port
from tests.integration.doctor import NOBODY, as_nobody, codes, no_programs, program, the

REPOSITORY = Path(__file__).resolve().parents[2]
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def context(tmp_path: Path) -> Context:
    return Context(Config(state_directory=tmp_path / "state"))


def test_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = context(tmp_path)
    no_programs(tmp_path, monkeypatch)
    monkeypatch.setattr("edge.access.clock._TIME_SERVERS", tmp_path / "timesync")
    synchronized = Path("/run/systemd/timesync/synchronized").exists()
    expected = "clock_sync.yes" if synchronized else "clock_sync.unknown"
    assert codes(machine.check_clock(here)) == ["clock.plausible", expected]
    assert not here.config.state_path.exists()
    impossible = the("clock.impossible", machine.check_clock(here, now_s=86_400.0))
    assert "1970" in impossible.found
    for now_s, code in (
        (1_767_225_599.0, "clock.impossible"),  # the year before the software
        (1_767_225_600.0, "clock.plausible"),
        (4_102_444_799.0, "clock.plausible"),
        (4_102_444_800.0, "clock.impossible"),  # the year 2100
    ):
        assert codes(machine.check_clock(here, now_s))[0] == code
    state = DeviceState(here.config.state_path)
    state.put(LATEST_KEY, "1800000000.0")
    state.close()
    assert codes(machine.check_clock(here, 1_799_999_700.0))[0] == "clock.plausible"
    behind = the("clock.unknown", machine.check_clock(here, 1_799_999_699.0))
    assert "the time is unknown: the clock shows 2027-01-15" in behind.found
    assert behind.found.endswith("people with hours or dates are rejected")
    assert "edge-voice access clock --accept" in behind.remedy
    (tmp_path / "timesync").mkdir()
    unset = the("clock.unknown", machine.check_clock(here, 1_800_000_000.0))
    assert "no time server or clock chip has confirmed it" in unset.found
    allow = replace(here.config, access=replace(here.config.access, unknown_time="allow"))
    unset = the("clock.unknown", machine.check_clock(Context(allow), 1_800_000_000.0))
    assert unset.found.endswith("people with hours or dates are not checked")


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("echo yes", "clock_sync.yes"),
        ("echo no", "clock_sync.no"),
        pytest.param(
            "echo Failed to connect to bus >&2; exit 1",
            "clock_sync.unknown",
            marks=pytest.mark.skipif(
                Path("/run/systemd/timesync/synchronized").exists(), reason="systemd is here"
            ),
        ),
    ],
)
def test_who_sets_the_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, code: str
) -> None:
    monkeypatch.setenv("PATH", str(program(tmp_path / "bin", "timedatectl", script)))
    assert codes(machine.check_clock(context(tmp_path)))[1] == code


def shown(load: str = "loaded", **states: str) -> str:
    values = {
        "LoadState": load,
        "UnitFileState": "enabled",
        "ActiveState": "active",
        "SubState": "running",
        "NRestarts": "0",
        "Result": "success",
        **states,
    }
    return "; ".join(f"echo {name}={value}" for name, value in values.items())


def answered(folder: Path, show: str, cat: str = "", journal: str = "") -> list[Finding]:
    """What is found where systemd answers like this."""
    (folder / "unit").write_text(cat)
    script = f'case "$*" in *cat*) /bin/cat {folder}/unit;; *) {show};; esac'
    program(folder / "bin", "systemctl", script)
    program(folder / "bin", "journalctl", f"echo {journal!r}")
    return list(service.check(ask_systemd()))


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (
            {},
            [
                "service.installed",
                "service_start.enabled",
                "service_state.active",
                "service_restarts.none",
            ],
        ),
        ({"UnitFileState": "disabled"}, ["service_start.disabled"]),
        ({"ActiveState": "inactive", "SubState": "dead"}, ["service_state.inactive"]),
        ({"ActiveState": "failed", "Result": "exit-code"}, ["service_state.failed"]),
        ({"ActiveState": "activating", "SubState": "auto-restart"}, ["service_state.starting"]),
        ({"NRestarts": "4"}, ["service_restarts.some"]),
    ],
)
def test_the_service(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    states: dict[str, str],
    expected: list[str],
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    found = answered(tmp_path, shown(**states))
    assert set(expected) <= set(codes(found))
    assert len(found) == 4


def test_the_watchdog_has_ended_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    journal = "edge-voice.service: Watchdog timeout (limit 30s)!"
    found = answered(tmp_path, shown(NRestarts="2"), journal=journal)
    hung = the("service_restarts.watchdog", found)
    assert "restarts by systemd: 2" in hung.found
    assert "journalctl" in hung.remedy


@pytest.mark.parametrize(
    ("show", "code"),
    [
        (shown("not-found"), "service.absent"),
        (shown("bad-setting"), "service.broken"),
        ("echo System has not been booted with systemd >&2; exit 1", "service.no_systemd"),
        ("echo nonsense", "service.no_systemd"),
    ],
)
def test_no_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, show: str, code: str) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert codes(answered(tmp_path, show)) == [code]


def test_no_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_programs(tmp_path, monkeypatch)
    found = list(service.check(ask_systemd()))
    assert codes(found) == ["service.no_systemd"]
    assert "there is no systemctl" in found[0].found


def test_the_unit_s_own_credentials_are_found_as_the_service_finds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the unit as it is installed, its files in a folder of this test."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.setenv("STATE_DIRECTORY", "/as/it/was")
    text = (REPOSITORY / "systemd" / "edge-voice.service").read_text()
    text = text.replace("/etc/edge-voice", str(tmp_path / "etc"))
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "mqtt-password").write_text("a secret\n")
    (tmp_path / "etc" / "mqtt-password").chmod(0o600)
    answered(tmp_path, shown(), cat=text)
    known = ask_systemd()
    assert known.state_directory == Path("/var/lib/edge-voice")
    with as_the_service(known):
        given = Path(os.environ["CREDENTIALS_DIRECTORY"])
        assert stat.S_IMODE(given.stat().st_mode) == 0o700
        assert (given / "mqtt-password").is_symlink()
        assert read_password(Path("mqtt-password")) == "a secret"
        assert (given / "store-key").read_bytes() == b""
        assert os.environ["STATE_DIRECTORY"] == "/as/it/was"
    assert "CREDENTIALS_DIRECTORY" not in os.environ
    assert not given.exists()


@ROOT
def test_an_encrypted_credential_is_decrypted_into_memory_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The unit as systemd/README.md says to edit it; a program stands in for systemd-creds."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    sealed = tmp_path / "mqtt-password.cred"
    sealed.write_text("terces a\n")
    arguments = f"decrypt --name=mqtt-password {sealed} -"
    script = f'[ "$*" = "{arguments}" ] && exec /usr/bin/rev "$3"; exit 1'
    monkeypatch.setenv("PATH", str(program(tmp_path / "bin", "systemd-creds", script)))
    unit_file = (REPOSITORY / "systemd" / "edge-voice.service").read_text()
    added = f"[Service]\nLoadCredential=\nLoadCredentialEncrypted=mqtt-password:{sealed}\n"
    added += f"LoadCredentialEncrypted=store-key:{sealed}\n"  # not that one's name
    answered(tmp_path, shown(), cat=unit_file + added)
    with as_the_service(ask_systemd()):
        given = Path(os.environ["CREDENTIALS_DIRECTORY"])
        assert [file.name for file in given.iterdir()] == ["mqtt-password"]
        assert (given / "mqtt-password").readlink().is_relative_to("/proc")
        assert read_password(Path("mqtt-password")) == "a secret"
    assert not given.exists()


def test_the_state_directory_of_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    # /var/lib/edge-voice may be there or not; this one is on every Debian.
    known = Unit({"LoadState": "loaded"}, {"StateDirectory": ("dpkg",)})
    with as_the_service(known):
        assert Config().state_path == Path("/var/lib/dpkg")
    assert "STATE_DIRECTORY" not in os.environ


def test_models_as_they_must_be(tmp_path: Path) -> None:
    found = list(machine.check_models(context(tmp_path)))
    assert codes(found)[:2] == ["models.genuine", "models.genuine"]
    # How fast this machine is, is its own business.
    assert codes(found)[2] in ("speed.fast", "speed.slow", "speed.too_slow")
    assert "real-time factor" in found[2].found
    assert (
        codes(machine.check_models(replace(context(tmp_path), quick=True)))[2] == "speed.left_out"
    )


@pytest.fixture
def own_models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    shutil.copytree(models_directory(), folder)
    return folder


def look_at_models(folder: Path) -> list[Finding]:
    return list(machine.check_models(Context(Config(models_directory=folder), quick=True)))


def test_a_model_that_is_not_its_card_s(own_models: Path) -> None:
    file = own_models / "phrase_embedding.tflite"
    content = bytearray(file.read_bytes())
    content[5000] ^= 1
    file.write_bytes(content)
    found = look_at_models(own_models)
    assert codes(found) == ["models.genuine", "models.fault", "speed.not_measured"]
    assert "is not the file that its card describes" in found[1].found
    assert "reinstall" in found[1].remedy
    file.unlink()
    assert "cannot be read" in the("models.fault", look_at_models(own_models)).found


@pytest.mark.parametrize("own", [False, True])
def test_a_card_that_was_changed(
    own_models: Path, monkeypatch: pytest.MonkeyPatch, own: bool
) -> None:
    file = own_models / "phrase_embedding.json"
    card = json.loads(file.read_text())
    card["calibration"]["ratio"]["offset"] += 60.0
    file.write_text(json.dumps(card))
    monkeypatch.setattr("edge.resources.models_directory", lambda: own_models)
    config = Config(models_directory=own_models if own else None)
    found = list(machine.check_models(Context(config, quick=True)))
    code = "models.own" if own else "models.altered"
    assert codes(found) == ["models.genuine", "models.genuine", code, "speed.left_out"]
    assert "phrase_embedding.json" in found[2].found


def test_a_card_without_its_calibration(own_models: Path) -> None:
    file = own_models / "speaker_embedding.json"
    card = json.loads(file.read_text())
    card["calibration"] = {}
    file.write_text(json.dumps(card))
    found = look_at_models(own_models)
    assert codes(found) == [
        "models.genuine", "models.genuine", "models.own", "models.calibration",
        "speed.not_measured",
    ]  # fmt: skip


def test_how_fast_is_fast_enough() -> None:
    found = [machine.judge_speed(took, 2.0) for took in (0.05, 0.30, 0.31, 1.0, 1.01)]
    assert codes(found) == [
        "speed.fast", "speed.fast", "speed.slow", "speed.slow", "speed.too_slow"
    ]  # fmt: skip
    assert "310 ms to verify 2.0 s of speech" in found[2].found


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("flags : fpu avx2 avx512_vnni sse", "processor.features", "avx512_vnni (8-bit dot"),
        ("Features : fp asimd asimddp", "processor.features", "asimddp (8-bit dot products)"),
        ("Features\t: half thumb", "processor.plain", "armv6l, 1 core, without"),
        ("nothing", "processor.unknown", "does not describe"),
    ],
)
def test_processors(line: str, code: str, words: str) -> None:
    found = machine.judge_processor(f"processor : 0\n{line}\n", "armv6l", 1)
    assert codes([found]) == [code]
    assert words in found.found


@pytest.mark.parametrize(
    ("available", "code"),
    [
        ("MemAvailable:     204800 kB", "memory.enough"),
        ("MemAvailable:     204799 kB", "memory.little"),
        ("MemAvailable:      51200 kB", "memory.little"),
        ("MemAvailable:      51199 kB", "memory.none"),
        ("MemFree: 5 kB", "memory.unknown"),
    ],
)
def test_memory(available: str, code: str) -> None:
    found = machine.judge_memory(f"MemTotal: 4000000 kB\n{available}\n")
    assert codes([found]) == [code]


def test_the_figures_for_prometheus(monkeypatch: pytest.MonkeyPatch) -> None:
    assert codes(service.check_metrics(Context())) == ["metrics.off"]
    port = free_port()
    config = Config(metrics=MetricsConfig(enabled=True, port=port), mqtt=MqttConfig(enabled=False))
    silent = the("metrics.silent", service.check_metrics(Context(config)))
    assert f"http://127.0.0.1:{port}/metrics" in silent.found
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    metrics = Metrics(config, MqttPublisher(config.mqtt, config.device))
    try:
        assert codes(service.check_metrics(Context(config))) == ["metrics.answers"]
    finally:
        metrics.close()
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "prometheus_client" else find(name, *rest),
    )
    missing = the("metrics.no_package", service.check_metrics(Context(config)))
    assert "pip install 'edge-voice[metrics]'" in missing.remedy


def test_this_machine(tmp_path: Path) -> None:
    found = list(machine.check(context(tmp_path / "not" / "there" / "yet")))
    assert [finding.name for finding in found] == ["processor", "memory", "disk"]
    codes(found)


@pytest.fixture
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={request.param}m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small disk needs root, and leave to mount one")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize(
    ("disk", "code"),
    [(2, "disk.full"), (50, "disk.little"), (400, "disk.enough")],
    indirect=["disk"],
)
def test_disks(disk: Path, code: str) -> None:
    found = machine.judge_disk(disk)
    assert codes([found]) == [code]


@pytest.mark.parametrize(
    ("free", "code"),
    [
        (9_999_999, "disk.full"),
        (10_000_000, "disk.little"),
        (99_999_999, "disk.little"),
        (100_000_000, "disk.enough"),
    ],
)
def test_how_much_room_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, code: str
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert codes([machine.judge_disk(tmp_path)]) == [code]


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user can reach, as those of tests are not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def asked_by_nobody(folder: Path, known: Unit) -> list[Finding]:
    here = Context(Config(state_directory=folder), unit=known)
    return as_nobody(lambda: configuration.check_user(here))


@ROOT
def test_who_asks(public: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    folder = public / "state"
    assert codes(configuration.check_user(Context())) == ["user.root"]
    none = Unit()
    assert codes(asked_by_nobody(folder, none)) == ["user.first"]
    folder.mkdir(mode=0o700)
    stranger = the("user.stranger", asked_by_nobody(folder, none))
    assert "belongs to root: its contents cannot be read" in stranger.found
    assert stranger.remedy == f"run: sudo {sys.executable} -m edge.cli doctor"
    monkeypatch.setattr(sys, "argv", ["/home/ada/venv/bin/edge-voice", "doctor"])
    stranger = the("user.stranger", asked_by_nobody(folder, none))
    assert stranger.remedy == "run: sudo /home/ada/venv/bin/edge-voice doctor"
    there = program(public / "bin", "edge-voice", "true")
    monkeypatch.setattr(configuration, "_ROOTS_PATH", str(there))
    stranger = the("user.stranger", asked_by_nobody(folder, none))
    assert stranger.remedy == "run: sudo edge-voice doctor"
    os.chown(folder, NOBODY, NOBODY)
    assert codes(asked_by_nobody(folder, none)) == ["user.owner"]
    secret = public / "mqtt-password"
    secret.write_text("a secret\n")
    secret.chmod(0o600)
    known = Unit(settings={"LoadCredential": (f"mqtt-password:{secret}",)})
    blind = the("user.no_credentials", asked_by_nobody(folder, known))
    assert f"such as {secret}" in blind.found
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(public))
    assert codes(asked_by_nobody(folder, known)) == ["user.owner"]
