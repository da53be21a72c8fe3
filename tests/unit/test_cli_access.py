"""The access and lockout commands: what they set, what they show, what they refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.access.clock import LATEST_KEY
from edge.access.lockout import LIFT_KEY, STATE_KEY, LockOut
from edge.cli.main import main
from edge.config import LockOutConfig
from edge.store import ProfileStore
from edge.store.device_state import DeviceState
from edge.types import EVERYTHING, ProfileKind, ReasonCode
from edge.types.decision import microseconds_of
from edge.web.attempts import Attempts
from tests.unit.commands import Capture, run_json
from tests.unit.stores import PHRASE_MODEL, SPEAKER_MODEL, enroll, make_sample

pytestmark = pytest.mark.usefixtures("config", "store_path")


def rule_of(capture: Capture, *arguments: str) -> dict[str, object]:
    code, value = run_json(capture, "access", *arguments)
    assert code == 0, value
    rule: dict[str, object] = value["rule"]
    return rule


def complaint(capture: Capture, *arguments: str) -> str:
    assert main(list(arguments)) == 2
    error = capture.readouterr().err
    assert len(error.splitlines()) == 1
    return error


# --- access ---


def test_a_rule_is_set_part_by_part_and_cleared(capsys: Capture, store_path: Path) -> None:
    assert rule_of(capsys, "show", "ada") == EVERYTHING.as_dict()
    rule_of(capsys, "set", "Ada", "--hours", "Mon-Fri 7:00-18:00", "--hours", "sat", "--challenge")
    rule_of(capsys, "set", "Ada", "--doors", "front-door, back-door,front-door")
    rule = rule_of(capsys, "set", "Ada", "--from", "2027-01-01", "--until", "2027-12-31")
    assert rule == {
        "enabled": True,
        "doors": ["front-door", "back-door"],
        "hours": ["mon-fri 07:00-18:00", "sat"],
        "first_day": "2027-01-01",
        "last_day": "2027-12-31",
        "challenge": True,
    }
    assert rule_of(capsys, "disable", "Ada") == {**rule, "enabled": False}
    assert rule_of(capsys, "enable", "Ada") == rule
    rule = rule_of(
        capsys, "set", "Ada", "--hours", "always", "--doors", "all", "--until", "any",
        "--no-challenge",
    )  # fmt: skip
    assert rule == {**EVERYTHING.as_dict(), "first_day": "2027-01-01"}
    assert rule_of(capsys, "clear", "Ada") == EVERYTHING.as_dict()
    with ProfileStore(store_path) as store:
        assert store.get("Ada").rule == EVERYTHING
        assert len(store.get("Ada").samples) == 3


def test_in_words(capsys: Capture) -> None:
    assert main(["access", "show"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Ada: every door, always; may open front-door now"
    assert lines[1] == "Grace: opens nothing: enrolled by voice alone, without a passphrase"
    code, value = run_json(capsys, "access", "show", "Grace")
    assert (code, value["allowed_now"], value["reason"]) == (0, False, "voice_only")
    arguments = ["--doors", "garage", "--until", "2027-12-31", "--hours", "fri-sun 22:00-06:00"]
    assert main(["access", "set", "Ada", *arguments]) == 0
    assert capsys.readouterr().out == (
        "Ada: doors garage, fri-sun 22:00-06:00, through 2027-12-31;"
        " may not open front-door now: not_here\n"
    )
    _, trail = run_json(capsys, "audit", "show")
    (changed,) = [each["detail"] for each in trail["entries"]]
    assert changed["rule"] == "doors garage, fri-sun 22:00-06:00, through 2027-12-31"
    assert main(["access", "disable", "Ada"]) == 0
    assert "Ada: disabled (" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [["set", "--doors", "garage"], ["enable"], ["disable"], ["clear"]]
)
def test_a_voice_alone_is_given_no_door(
    capsys: Capture, store_path: Path, arguments: list[str]
) -> None:
    action, *rest = arguments
    text = complaint(capsys, "access", action, "Grace", *rest)
    assert "Grace was enrolled by voice alone, which opens nothing" in text
    assert "enroll a passphrase under another name" in text
    with ProfileStore(store_path) as store:
        assert store.get("Grace").rule == EVERYTHING


def test_whoever_is_not_enrolled_whole_cannot_open(capsys: Capture, store_path: Path) -> None:
    with ProfileStore(store_path) as store:
        store.create("Zoë", ProfileKind.PHRASE, required=3)
    code, value = run_json(capsys, "access", "show", "Zoë")
    assert (code, value["allowed_now"], value["reason"]) == (0, False, "not_enrolled")


def test_whoever_waits_to_be_confirmed_cannot_open(capsys: Capture, store_path: Path) -> None:
    with ProfileStore(store_path) as store:
        store.create(
            "Zoë", ProfileKind.PHRASE, required=1, samples=[make_sample()],
            speaker_model=SPEAKER_MODEL, phrase_model=PHRASE_MODEL, confirmed=False,
        )  # fmt: skip
    code, value = run_json(capsys, "access", "show", "Zoë")
    assert (code, value["allowed_now"], value["reason"]) == (0, False, "unconfirmed")
    assert main(["access", "show", "Zoë"]) == 0
    assert capsys.readouterr().out.endswith("; cannot open yet: the enrollment is not confirmed\n")


def test_everybody_as_json(capsys: Capture) -> None:
    main(["access", "disable", "Ada"])
    capsys.readouterr()
    code, value = run_json(capsys, "access", "show")
    assert code == 0
    found = [(each["profile"]["name"], each["reason"]) for each in value["access"]]
    assert found == [("Ada", "disabled"), ("Grace", "voice_only")]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "nothing to set"),
        (["--hours", "monday"], "invalid day 'monday'"),
        (["--hours", "7-18"], "--hours"),
        (["--doors", " , "], "name at least one"),
        (["--doors", "front door"], "invalid door"),
        (["--from", "1.1.2027"], "--from: invalid date '1.1.2027'"),
        (["--until", "tomorrow"], "--until: invalid date"),
        (["--from", "2027-02-02", "--until", "2027-02-01"], "before the first"),
        (["--hours", "mon"] * 8 + ["--hours", "always"], "--hours"),
        (["--doors", ",".join(f"door-{n}" for n in range(33))], "more than 32"),
    ],
)
def test_what_cannot_be_set_changes_nothing(
    capsys: Capture, store_path: Path, arguments: list[str], expected: str
) -> None:
    assert main(["access", "set", "Ada", "--hours", "sat"]) == 0
    with ProfileStore(store_path) as store:
        before = store.get("Ada").rule
    capsys.readouterr()
    assert expected in complaint(capsys, "access", "set", "Ada", *arguments)
    with ProfileStore(store_path) as store:
        assert store.get("Ada").rule == before


@pytest.mark.parametrize("action", ["show", "set", "enable", "disable", "clear"])
def test_unknown_person(capsys: Capture, action: str) -> None:
    extra = ["--doors", "all"] if action == "set" else []
    assert "did you mean Ada?" in complaint(capsys, "access", action, "Adda", *extra)


def test_an_unknown_time_zone_is_a_mistake_in_the_configuration(
    capsys: Capture, config: Path
) -> None:
    config.write_text("state_directory: state\naccess: {time_zone: Europe/Berln}\n")
    assert "'Europe/Berln' is no time zone here" in complaint(capsys, "access", "show")
    config.write_text("state_directory: state\naccess: {time_zone: America}\n")
    assert "'America' is no time zone here" in complaint(capsys, "access", "show")
    config.write_text("state_directory: state\naccess: {time_zone: Europe/Berlin}\n")
    assert main(["access", "show"]) == 0


def test_the_clock_is_shown_and_accepted(capsys: Capture, config: Path, store_path: Path) -> None:
    state = DeviceState(store_path.parent)
    state.put(LATEST_KEY, "4102444800.0")  # 2100-01-01
    code, value = run_json(capsys, "access", "clock")
    assert (code, value["trusted"]) == (0, False)
    assert value["latest"] == "2100-01-01T00:00:00.000Z"
    assert microseconds_of(value["now"].replace("Z", "000Z")) < 4102444800e6
    assert main(["access", "set", "Ada", "--hours", "daily"]) == 0
    assert "not_now (the clock is not trusted)" in capsys.readouterr().out
    said = _said(capsys, "access", "clock")
    assert "The time is unknown: the clock shows" in said
    assert "but it was 2100-01-01" in said
    assert "People with hours or dates are denied. Set the clock, or add --accept" in said
    config.write_text("state_directory: state\naccess: {unknown_time: allow}\n")
    assert "People with hours or dates can open at any time." in _said(capsys, "access", "clock")
    assert "may open front-door now" in _said(capsys, "access", "show", "Ada")
    config.write_text("state_directory: state\n")
    code, value = run_json(capsys, "access", "clock", "--accept")
    assert (code, value["trusted"]) == (0, True)
    assert "may open front-door now" in _said(capsys, "access", "show", "Ada")
    state.close()


def _said(capture: Capture, *arguments: str) -> str:
    assert main(list(arguments)) == 0
    return capture.readouterr().out


# --- the duress phrase in lists ---


@pytest.fixture
def with_duress(store_path: Path) -> Path:
    with ProfileStore(store_path) as store:
        enroll(store, "Bob", 7, 8, 9)
        store.create(
            "Ada (duress)",
            ProfileKind.PHRASE,
            "help",
            required=3,
            samples=[make_sample(seed) for seed in (4, 5, 6)],
            speaker_model=SPEAKER_MODEL,
            phrase_model=PHRASE_MODEL,
            duress_of="Ada",
        )
    return store_path


@pytest.mark.usefixtures("with_duress")
def test_it_is_listed_under_its_person(capsys: Capture) -> None:
    lines = _said(capsys, "profiles", "list").splitlines()[1:]
    assert [line.split("  ")[0] for line in lines] == ["Ada", "", "Grace", "Bob"]
    assert lines[1].startswith("  Ada (duress)  duress phrase")
    code, value = run_json(capsys, "profiles", "list")
    ids = {each["name"]: each["id"] for each in value["profiles"]}
    assert [each["duress_of"] for each in value["profiles"] if each["duress_of"]] == [ids["Ada"]]
    assert code == 0


@pytest.mark.usefixtures("with_duress")
def test_it_has_no_rule_of_its_own(capsys: Capture) -> None:
    assert "(duress)" not in _said(capsys, "access", "show")
    for action in (["show"], ["enable"], ["set", "--doors", "all"]):
        error = complaint(capsys, "access", action[0], "Ada (duress)", *action[1:])
        assert "follows the rule of Ada" in error


def test_deleting_the_person_deletes_it(with_duress: Path) -> None:
    assert main(["profiles", "delete", "Ada", "--yes"]) == 0
    with ProfileStore(with_duress) as store:
        assert [profile.name for profile in store.list()] == ["Grace", "Bob"]


def test_duress_needs_a_passphrase(capsys: Capture) -> None:
    assert "cannot be used with --voice" in complaint(capsys, "enroll", "X", "--duress", "--voice")
    assert "no enrolled passphrase" in complaint(capsys, "enroll", "Grace", "--duress", "a.wav")
    assert "there is no profile 'Zoe'" in complaint(capsys, "enroll", "Zoe", "--duress", "a.wav")


# --- lockout ---


@pytest.fixture
def lockout(store_path: Path) -> LockOut:
    return LockOut(
        LockOutConfig(), DeviceState(store_path.parent),
        record=lambda _: None, changed=lambda _: None,
    )  # fmt: skip


def test_the_lock_out_is_shown_and_lifted(
    capsys: Capture, lockout: LockOut, store_path: Path
) -> None:
    assert "Not locked out; 0 of 5 rejections" in _said(capsys, "lockout", "show")
    for _ in range(4):
        lockout.rejected(ReasonCode.UNKNOWN_SPEAKER)
    code, value = run_json(capsys, "lockout", "show")
    assert code == 0
    assert value == {
        "locked_out": False, "left_s": 0.0, "round": 0, "rejections": 4, "budget_used": 4,
        "http": {"locked_out": False, "left_s": 0.0},
    }  # fmt: skip
    assert "4 of the budget of 20 used." in _said(capsys, "lockout", "show")
    lockout.rejected(ReasonCode.UNKNOWN_SPEAKER)
    code, value = run_json(capsys, "lockout", "show")
    assert (code, value["locked_out"], value["round"]) == (0, True, 1)
    assert 50.0 < value["left_s"] <= 60.0
    assert "Locked out for" in _said(capsys, "lockout", "show")
    code, value = run_json(capsys, "lockout", "lift")
    assert (code, value) == (0, {"lifted": True})
    assert lockout.locked
    lockout.tick()  # as the service does
    assert not lockout.locked
    assert "Not locked out; 0 of 5 rejections" in _said(capsys, "lockout", "show")
    assert "Earlier rejections and wrong keys are forgotten" in _said(capsys, "lockout", "lift")
    state = DeviceState(store_path.parent)
    assert state.get(LIFT_KEY) is not None
    state.close()


def test_a_lock_out_over_http_is_shown_and_lifted(capsys: Capture, store_path: Path) -> None:
    state = DeviceState(store_path.parent)
    attempts = Attempts(LockOutConfig(), state, lambda _: None)
    assert "Over HTTP" not in _said(capsys, "lockout", "show")
    for _ in range(5):
        attempts.judged(ReasonCode.UNKNOWN_SPEAKER, by_phrase=True)
    door, http = _said(capsys, "lockout", "show").splitlines()
    assert "Not locked out; 0 of 5 rejections" in door
    assert http.startswith("Over HTTP: locked out for ")
    assert run_json(capsys, "lockout", "show")[1]["http"]["locked_out"]
    assert run_json(capsys, "lockout", "lift") == (0, {"lifted": True})
    assert "Over HTTP" not in _said(capsys, "lockout", "show")
    attempts.tick()  # as the server does
    attempts.require()
    state.close()


def test_without_a_service_it_is_lifted_too(
    capsys: Capture, lockout: LockOut, store_path: Path
) -> None:
    for _ in range(5):
        lockout.rejected(ReasonCode.UNKNOWN_SPEAKER)
    assert "follows within a second" in _said(capsys, "lockout", "lift")
    assert "Not locked out" in _said(capsys, "lockout", "show")


def test_a_damaged_lock_out_is_said_and_can_be_lifted(capsys: Capture, store_path: Path) -> None:
    state = DeviceState(store_path.parent)
    state.put(STATE_KEY, "x")
    state.close()
    assert main(["lockout", "show"]) == 3
    assert "edge-voice lockout lift" in capsys.readouterr().err
    assert main(["lockout", "lift"]) == 0
    assert "Not locked out" in _said(capsys, "lockout", "show").splitlines()[-1]


def test_switched_off(capsys: Capture, config: Path) -> None:
    config.write_text("state_directory: state\nlockout: {enabled: false}\n")
    assert "lockout.enabled is off" in _said(capsys, "lockout", "show")
