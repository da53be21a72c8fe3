"""Settings, keys that may command, and access rules made to harm: taken, or a line says why not."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from edge.cli.main import main
from edge.config import Config, all_settings, parse_config
from edge.crypto.command_keys import read_command_keys
from edge.crypto.signing import ALGORITHMS, ED25519, new_key
from edge.errors import ConfigError
from edge.resources import config_directory
from edge.store import ProfileStore
from edge.types.access import Window, format_window, parse_day, parse_window
from tests.unit.fuzzing import EXAMPLES, damaged, hammer, in_time

SHIPPED = [file.read_bytes() for file in sorted(config_directory().glob("*.yaml"))]
_KEYS = sorted({part for row in all_settings() for part in row.path.split(".")})
_FRAGMENTS = st.sampled_from([
    "\n", "\n  ", "\n    ", "- ", ": ", "? ", "{", "}", "[", "]", ", ", "|\n  ", ">\n  ", "&a ",
    "*a", "!!python/object ", "!!binary ", "<<: ", "--- ", "...\n", "# ", "'", '"', '"\\ud800"',
    "%YAML 1.1\n",
    "\t", "\r", "\x00", "\x85", "\u2028", "\ufeff", "~", ".inf", "-.nan", "0x", "1e400", "9" * 400,
    "1_0", "1:30", "on", "x" * 3000, "~root", "~nobody-at-all/x", "../" * 40, "\\", "@", "`", "é",
])  # fmt: skip
YAML = st.lists(st.one_of(_FRAGMENTS, st.sampled_from(_KEYS)), max_size=40).map(
    lambda parts: "".join(parts).encode("utf-8", "surrogatepass")
)
BOMBS = {
    "billion laughs": b"a: &a [x,x]\n"
    + b"".join(
        b"%c: &%c [*%c,*%c]\n" % (ord("a") + n, ord("a") + n, ord("a") + n - 1, ord("a") + n - 1)
        for n in range(1, 25)
    ),
    "lists": b"[" * 60_000,
    "lists closed": b"[" * 30_000 + b"]" * 30_000,
    "maps": b"a: " + b"{b: " * 15_000,
    "block lists": b"- " * 30_000,
    "question marks": b"? " * 30_000,
    "quotes": b"'" * 60_000,
    "one key": b"audio: {ring_s: 20}\n" * 3_000,
    "long key": b"a" * 60_000 + b": 1",
    "long number": b"mqtt: {port: " + b"9" * 60_000 + b"}",
    "long zone": b"access: {time_zone: " + b"Europe/Berlim" * 4_000 + b"}",
    "exponent": b"audio: {ring_s: 1e" + b"9" * 60 + b"}",
    "spaces": b"a:" + b" " * 60_000 + b"1",
    "lines": b"\n" * 65_000,
    "comments": b"#\n" * 32_000,
    "flow keys": b"{" + b"a," * 30_000 + b"}",
    "folded": b"a: >\n" + b"  x\n\n" * 10_000,
    "escapes": b'a: "' + b"\\x41" * 15_000 + b'"',
    "directives": b"%TAG ! x\n" * 6_000,
    "documents": b"---\n" * 15_000,
    "too large": b"a: 1\n" * 200_000,
}


def _refusals(data: bytes, file: Path) -> tuple[str, ...]:
    try:
        config = parse_config(data, file)
    except ConfigError as error:
        problems = error.problems
    else:
        assert _all_in_range(config)
        return ()
    assert problems
    for problem in problems:
        assert problem.startswith(f"{file}:")
        assert len(problem.removeprefix(str(file))) < 340
        assert "\n" not in problem
    return problems


def _all_in_range(config: Config) -> bool:
    values = dict(_leaves(config))
    for row in all_settings():
        value = values.get(row.path)
        if isinstance(value, (int, float)) and row.rule.least is not None:
            assert row.rule.least <= value
            assert row.rule.most is None or value <= row.rule.most
    return True


def _leaves(value: Any, path: str = "") -> Iterable[tuple[str, Any]]:
    for each in fields(value):
        inner, where = getattr(value, each.name), f"{path}{each.name}"
        if is_dataclass(inner):
            yield from _leaves(inner, f"{where}.")
        else:
            yield where, inner


@pytest.mark.parametrize("examples", EXAMPLES)
def test_any_configuration_is_taken_or_explained(examples: int, tmp_path: Path) -> None:
    def check(data: bytes) -> None:
        _refusals(data, tmp_path / "config.yaml")
        assert os.listdir(tmp_path) == []  # noqa: PTH208 (nothing is made, nothing is kept)

    hammer(examples, check, data=st.one_of(damaged(SHIPPED, head=2000), YAML))


@pytest.mark.parametrize("name", list(BOMBS))
def test_a_bomb_goes_off_in_vain(name: str, tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    file.write_bytes(BOMBS[name])
    file.chmod(0o600)
    with in_time(20.0):
        refused = _refusals(BOMBS[name], file)
        assert refused or name in ("lines", "comments", "spaces")
    with in_time(20.0):
        try:
            assert read_command_keys(file) == {}
        except ConfigError as error:
            assert len(str(error)) < 400


def _key_file() -> bytes:
    rows = []
    for algorithm in ALGORITHMS:
        key, text = new_key(algorithm)
        shown = key.public.text if algorithm == ED25519 else text.decode().strip()  # type: ignore[attr-defined]
        rows.append(
            f"  - id: phone-{algorithm}\n    algorithm: {algorithm}\n    key: {shown}\n"
            "    role: owner\n"
        )
    return ("keys:\n" + "".join(rows)).encode()


@pytest.mark.parametrize("examples", EXAMPLES)
def test_any_file_of_command_keys_is_taken_or_explained(examples: int, tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    file.touch(mode=0o600)
    whole = _key_file()
    genuine = set(read_back(file, whole))
    assert len(genuine) == 2

    def check(data: bytes) -> None:
        try:
            keys = read_back(file, data)
        except ConfigError as error:
            message = str(error)
            assert message.startswith(str(file))
            assert "\n" not in message
            assert not any(key in message for key in secrets)
            return
        # At most one of the names is damaged, and a key keeps its own.
        assert all(key.verifier.key_id == name for name, key in keys.items())
        assert len(keys) <= 2

    secrets = [line.split()[1] for line in whole.decode().splitlines() if " key: " in line]
    hammer(examples, check, data=st.one_of(damaged([whole], head=len(whole)), YAML))


def read_back(file: Path, data: bytes) -> dict[str, Any]:
    file.write_bytes(data)
    return dict(read_command_keys(file))


HOURS = st.one_of(
    st.text(max_size=120),
    st.from_regex(r"[a-zA-Z,-]{0,12} {0,3}[0-9:-]{0,12}", fullmatch=True),
    st.lists(st.sampled_from(["mon", "SUN", "-", ",", " ", "daily", "24:00", "0:00",
                              "7:5", "\u0663", "\n", "\x00", "\u2003", "mon-sun", "23:59"]),
             max_size=60).map("".join),
)  # fmt: skip
WINDOWS = st.builds(
    Window,
    st.sets(st.integers(0, 6), min_size=1).map(lambda days: tuple(sorted(days))),
    st.integers(0, 1439),
    st.integers(1, 1440),
)
DATES = st.one_of(st.dates().map(str), st.from_regex(r"[0-9]{4}-[01][0-9]-[0-3][0-9]\Z"))


@pytest.mark.parametrize("examples", EXAMPLES)
def test_any_text_is_hours_or_a_day_or_refused(examples: int) -> None:
    def check(text: str, window: Window, day: str) -> None:
        assert parse_window(format_window(window)) == window
        told = [
            refusal(parse, given) for parse in (parse_window, parse_day) for given in (text, day)
        ]
        assert all("\n" not in one and len(one) < 200 for one in told)
        if not told[-1]:
            assert parse_day(day).isoformat() == day

    def refusal(parse: Callable[[str], object], given: str) -> str:
        try:
            parse(given)
        except ValueError as error:
            return str(error)
        return ""

    hammer(examples, check, text=HOURS, window=WINDOWS, day=DATES)


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.usefixtures("config", "store_path")
def test_any_rule_on_the_command_line_is_kept_whole_or_not_at_all(
    examples: int, store_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = []

    def check(hours: list[str], windows: list[Window], doors: str, first: str, last: str) -> None:
        with ProfileStore(store_path) as store:
            before = store.get("Ada").rule
        given = [f"--hours={each}" for each in (*map(format_window, windows), *hours)]
        code = main(["access", "set", "Ada", *given, f"--doors={doors}",
                     f"--from={first}", f"--until={last}"])  # fmt: skip
        error = capsys.readouterr().err
        with ProfileStore(store_path) as store:
            after = store.get("Ada").rule
        assert code in (0, 2)
        assert "unexpected" not in error
        assert error.count("\n") == (code != 0)
        refused.append(code != 0)
        if code:
            assert after == before
        else:
            if given:
                assert after.windows[: len(windows)] == tuple(dict.fromkeys(windows))
            assert len(after.windows) <= 16
            for kept, text in ((after.first_day, first), (after.last_day, last)):
                assert str(kept) == text.strip() or text.strip().lower() in ("any", "all", "always")

    day = st.one_of(st.just("any"), st.dates().map(str), st.text(max_size=12))
    doors = st.one_of(st.just("all"), st.text(max_size=80),
                      st.from_regex(r"[a-z,_-]{0,200}", fullmatch=True))  # fmt: skip
    some: st.SearchStrategy[list[str]] = st.one_of(st.just([]), st.lists(HOURS, max_size=20))
    hammer(max(20, examples // 10), check, hours=some, windows=st.lists(WINDOWS, max_size=18),
           doors=doors, first=day, last=day)  # fmt: skip
    assert set(refused) == {True, False}, "some are kept, and some are not"
