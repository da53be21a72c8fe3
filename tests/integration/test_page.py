"""The page in a real browser: enrolled at the door and in the browser, let in, seen, refused."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

pytest.importorskip("starlette")
pytest.importorskip("playwright")

import uvicorn
from playwright.sync_api import Browser, Error, Page, expect, sync_playwright

from edge.config import Config
from edge.evaluation.results import SUMMARY_KEY
from edge.monitor.messages import enrollment_message, level_message, state_message
from edge.monitor.server import Address, History, MonitorServer
from edge.serve.application import build_application
from edge.store.api_keys import ApiRole
from edge.types import Detail, Event, EventKind, ProfileKind
from edge.web.context import WebContext
from tests.home_assistant.browser import browser as browser_program
from tests.integration.axe import axe_source, findings
from tests.integration.broker import Broker, Subscriber, free_port
from tests.integration.house import DEMO, House, is_listening, stop
from tests.integration.http_server import ServerProcess
from tests.integration.virtual_microphone import VirtualMicrophone
from tests.integration.waiting import PATIENCE, settled
from tests.unit.stores import PHRASE_MODEL, SPEAKER_MODEL, enroll, learned, make_sample
from tests.unit.web import close_context, make_context

pytestmark = [pytest.mark.slow, pytest.mark.long]

_MS = PATIENCE * 1000
expect.set_options(timeout=_MS)


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """What the browser's microphone hears: the file is read anew each time it is opened."""
    return tmp_path / "microphone.wav"


@pytest.fixture
def browser(sound: Path) -> Iterator[Browser]:
    """Chromium without a window."""
    program = browser_program()
    if program is None:
        pytest.skip("no browser (Debian: apt install chromium)")
    with sync_playwright() as driver:
        running = driver.chromium.launch(
            executable_path=program,
            args=[
                "--no-sandbox",
                "--use-fake-ui-for-media-stream",
                "--use-fake-device-for-media-stream",
                f"--use-file-for-fake-audio-capture={sound}%noloop",
            ],
        )
        yield running
        running.close()


def as_wave(name: str, file: Path, lead_s: float = 0.0) -> Path:
    """A demo recording as a WAV file, in a quiet room."""
    samples, rate = soundfile.read(DEMO / f"{name}.flac")
    noise = 1e-3 * np.random.default_rng(0).normal(size=len(samples) + round(2 * lead_s * rate))
    noise[round(lead_s * rate) :][: len(samples)] += samples
    soundfile.write(file, noise, rate, subtype="PCM_16")
    return file


def sign_in(page: Page, url: str, key: str) -> None:
    page.set_default_timeout(_MS)
    page.goto(f"{url}/sign-in")
    page.get_by_label("Key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="People")).to_be_visible()


def begin(page: Page, url: str, name: str, where: str) -> None:
    page.goto(f"{url}/people")
    page.get_by_role("link", name="Enroll somebody").click()
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label(where).check()
    page.get_by_role("button", name="Go on").click()


def test_enrolled_at_the_door_let_in_seen_and_refused(
    browser: Browser, microphone: VirtualMicrophone, broker: Broker, tmp_path: Path
) -> None:
    server = ServerProcess(tmp_path, settings="device: {id: test-door}\n")
    house = House(tmp_path, broker, microphone.environment)
    service = house.start()
    waves = {
        name: as_wave(name, tmp_path / f"{name}.wav")
        for name in ("ada_enroll_1", "ada_enroll_2", "ada_enroll_3", "ada_right_phrase")
    }
    try:
        with Subscriber(broker) as home:
            home.wait_for("/status", is_listening)
            page = browser.new_page(viewport={"width": 390, "height": 844})
            sign_in(page, server.url, server.new_key())
            begin(page, server.url, "Ada", "At the door's own microphone")
            say = page.locator("[data-say]")
            # No reload from here on: the page follows the door.
            expect(page.locator(".room")).to_be_visible()
            expect(say).to_have_text("Say your passphrase 3 times and pause after each.")
            for number in (1, 2):
                speech = microphone.play_in_background(waves[f"ada_enroll_{number}"])
                page.wait_for_function("() => document.querySelector('[data-level]').value > -60")
                assert speech.wait(PATIENCE) == 0
                expect(page.locator(".repetitions .good")).to_have_count(number)
            microphone.play(waves["ada_enroll_3"])
            expect(say).to_have_text("Now a trial: say it once more, as at the door.")
            microphone.play(waves["ada_right_phrase"])
            expect(page.get_by_text("would open", exact=True)).to_be_visible()
            assert not home.on("/decision"), "a trial opens nothing"
            page.get_by_role("button", name="Yes, it was Ada").click()
            expect(page.get_by_text("Ada is confirmed and may open.")).to_be_visible()
            home.wait_for("/status", lambda status: status.get("enrolled") == 1)

            page.get_by_role("link", name="History").click()
            expect(page.get_by_text("Live: what happens appears here at once.")).to_be_visible()
            microphone.play(waves["ada_right_phrase"])
            assert home.wait_for("/decision").json["decision"] == "granted"
            first = page.locator(".events > li").first
            expect(first.get_by_text("Let in", exact=True)).to_be_visible()
            expect(first.get_by_text("Ada", exact=True)).to_be_visible()

            switch(page, server.url, "Switch off", "Ada can no longer open.")
            expect_decision(page, server.url, home, microphone, waves, "disabled")
            first = page.locator(".events > li").first
            expect(first.get_by_text("Recognized, but switched off")).to_be_visible()
            expect(first.get_by_text("Switch the person on again.")).to_be_visible()

            page.goto(f"{server.url}/people")
            page.get_by_role("link", name="Ada").click()
            page.get_by_role("link", name="Delete Ada").click()
            page.get_by_role("button", name="Delete Ada").click()
            expect(page.get_by_text("Ada is deleted.")).to_be_visible()
            home.wait_for("/status", lambda status: status.get("enrolled") == 0)
            expect_decision(page, server.url, home, microphone, waves, "nobody_enrolled")
    finally:
        stop(service)
        assert server.stop() == 0


def switch(page: Page, url: str, button: str, told: str) -> None:
    page.goto(f"{url}/people")
    page.get_by_role("link", name="Ada").click()
    page.get_by_role("button", name=button).click()
    expect(page.get_by_text(told)).to_be_visible()


def expect_decision(
    page: Page,
    url: str,
    home: Subscriber,
    microphone: VirtualMicrophone,
    waves: dict[str, Path],
    reason: str,
) -> None:
    """What the door decides next on what Ada says, and that the page shows it at once."""
    page.goto(f"{url}/history")
    expect(page.get_by_text("Live: what happens appears here at once.")).to_be_visible()
    shown = page.locator(".events > li").count()
    home.messages.clear()
    microphone.play(waves["ada_right_phrase"])
    assert home.wait_for("/decision").json["reason"] == reason
    expect(page.locator(".events > li")).to_have_count(shown + 1)


def test_enrolled_at_the_browser_s_microphone(
    browser: Browser, sound: Path, tmp_path: Path
) -> None:
    server = ServerProcess(tmp_path / "server")
    try:
        page = browser.new_page()
        sign_in(page, server.url, server.new_key())
        begin(page, server.url, "Ada", "At the microphone of this phone or computer")
        expect(page.get_by_text("The door listens with another microphone")).to_be_visible()
        say = page.locator("[data-say]")
        for name, told in (
            ("ada_enroll_1", "1 of 3 taken. Say it again."),
            ("ada_enroll_2", "2 of 3 taken. Say it again."),
            ("ada_enroll_3", "Enrolled. Now a trial: say it once more, as at the door."),
        ):
            record(page, as_wave(name, sound, lead_s=0.6))
            expect(say).to_have_text(told)
        record(page, as_wave("ada_right_phrase", sound, lead_s=0.6))
        expect(page.get_by_text("would open", exact=True)).to_be_visible()
        record(page, as_wave("stranger_adas_phrase", sound, lead_s=0.6))
        expect(page.get_by_text("would not open", exact=True)).to_be_visible()
        page.get_by_role("link", name="To Ada").click()
        expect(page.get_by_text("may open now")).to_be_visible()
    finally:
        assert server.stop() == 0


def record(page: Page, sound: Path) -> None:
    """Record what the microphone hears, to its end."""
    seconds = int(soundfile.info(sound).duration) + 1
    page.get_by_role("button", name="Record").click()
    page.wait_for_function(
        "least => Number(document.querySelector('[data-recorder]').dataset.seconds) >= least",
        arg=seconds,
    )
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Record")).to_be_enabled()


# --- how it looks, and whom it hinders ---


class Shown:
    """A server with something of everything to show, and a service that it follows."""

    def __init__(self, folder: Path) -> None:
        self.context = make_context(folder, None, Config(state_directory=folder))
        self.key = self.context.keys.new("Phone", ApiRole.MANAGE)
        self.monitor = MonitorServer(
            Address(folder / "monitor.sock", shared=False), History("front-door", "Front door")
        )
        self.paths = _filled(self.context, self.monitor)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        settings = uvicorn.Config(
            build_application(self.context), port=port, log_level="error", lifespan="off"
        )
        self._server = uvicorn.Server(settings)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        assert settled(lambda: self._server.started)

    def close(self) -> None:
        self._server.should_exit = True
        self.monitor.close()
        self._thread.join(PATIENCE)
        close_context(self.context)


def _filled(context: WebContext, monitor: MonitorServer) -> list[str]:
    """The addresses of all pages, after there is something on each."""
    store, trail = context.store, context.trail
    ada = enroll(store, "Ada", 1, 2, 3)
    store.adapt(store.get(ada), learned(7), most=5)
    long_name = "Eve with <b>a name</b> that does not end on the first line, no"
    models = {"speaker_model": SPEAKER_MODEL, "phrase_model": PHRASE_MODEL}
    eve = store.create(
        long_name, ProfileKind.PHRASE, "open the window please", required=3,
        samples=[make_sample(n) for n in (11, 12, 13)], confirmed=False, **models,
    ).id  # fmt: skip
    store.create("Grace", ProfileKind.VOICE, required=30)
    for number, (outcome, reason, margin) in enumerate(
        [("granted", "recognized", 4.0), ("denied", "no_match", -3.0), ("denied", "not_now", 2.0)]
    ):
        detail: dict[str, Detail] = {
            "outcome": outcome, "reason": reason, "confidence": "high", "utterance_s": 1.8,
            "id": f"d{number}", "voice_margin": margin, "phrase_margin": margin + 1.0,
            "level_dbfs": -27.0, "snr_db": 30.0,
        }  # fmt: skip
        trail.record(Event(EventKind.DECISION, detail, ada, 1.7e9 + 3600 * number))
    trail.record(Event(EventKind.LOCK_OUT, {"round": 1, "lasts_s": 60.0, "by": "5 rejections"}))
    trail.flush()
    preset = {"meant": "1 in 1,000", "residents": "1.2 % (0.5 % to 3 %)", "strangers": "0 %"}
    summary = {
        "created_at": "2027-01-31T12:00:00Z", "people": 12, "tested": 340, "suggested": "balanced",
        "strangers": "None was accepted.", "residents": "Rejected 2 times in 100.",
        "presets": [{"name": name, **preset} for name in ("relaxed", "balanced", "strict")],
    }  # fmt: skip
    context.state.put(SUMMARY_KEY, json.dumps(summary))
    trial = {"accepted": True, "voice_margin": 4.2, "phrase_margin": 6.1}
    for step in (
        {"state": "started", "message": "say your passphrase 3 times and pause after each"},
        {"state": "accepted", "message": "1 of 3: again"},
        {"state": "refused", "message": "too quiet: once more, a little louder or closer"},
        {"state": "unconfirmed", "message": "enrolled: now the owner must confirm it"},
        {"state": "tried", "message": "it opens, by a wide margin", "trial": trial},
    ):
        monitor.post(enrollment_message({"person": long_name, **step}))
    monitor.post(state_message("listening", enrolled=1))
    (key,) = context.keys.list()
    return [
        "/people", f"/people/{ada}", f"/people/{eve}", f"/people/{ada}/delete", "/people/nobody",
        "/enroll", "/enroll/door", "/history", "/history?kind=other", "/door", "/checks", "/keys",
        f"/keys/{key.id}/revoke",
    ]  # fmt: skip


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[Shown]:
    server = Shown(tmp_path / "shown")
    yield server
    server.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_the_pages_hinder_nobody(
    browser: Browser, shown: Shown, tmp_path: Path, scheme: Any, width: int
) -> None:
    source = axe_source(tmp_path)
    # The policy of the pages would keep the tool's own script away.
    context = browser.new_context(
        viewport={"width": width, "height": 844}, color_scheme=scheme, bypass_csp=True
    )
    page = context.new_page()
    found: list[str] = []
    page.on("pageerror", lambda error: found.append(str(error)))

    def look() -> None:
        found.extend(findings(page, source))
        if page.evaluate("document.documentElement.scrollWidth") > width:
            found.append(f"{page.url}: wider than the window")

    page.goto(f"{shown.url}/sign-in")
    look()
    sign_in(page, shown.url, shown.key)
    for path in shown.paths:
        page.goto(shown.url + path)
        look()
    begin(page, shown.url, "Zoe", "At the microphone of this phone or computer")
    look()
    page.goto(f"{shown.url}/keys")
    page.get_by_label("Name").fill(f"Key {scheme} {width}")
    page.get_by_label("verify").check()
    page.get_by_role("button", name="Make the key").click()
    expect(page.get_by_text("It is not shown again")).to_be_visible()
    look()
    assert found == []


def test_all_of_it_can_be_done_with_the_keyboard_and_without_script(
    browser: Browser, shown: Shown
) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{shown.url}/sign-in")
    press(page, "Tab", lambda: focused(page) == "Skip to the content")
    press(
        page, "Tab", lambda: page.get_by_label("Key").evaluate("e => e === document.activeElement")
    )
    page.keyboard.type(shown.key)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="People")).to_be_visible()
    press(page, "Tab", lambda: focused(page) == "Ada")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Ada", exact=True)).to_be_visible()
    press(page, "Tab", lambda: focused(page) == "Switch off")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Ada can no longer open.")).to_be_visible()
    # Where there is no script to record, a file is sent.
    begin(page, shown.url, "Zoe", "At the microphone of this phone or computer")
    expect(page.get_by_label("A recording of one repetition")).to_be_visible()
    expect(page.get_by_role("button", name="Record", exact=True)).to_be_hidden()


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.textContent")).strip()


def press(page: Page, key: str, until: Callable[[], Any]) -> None:
    """Press a key until something is focused."""
    for _ in range(60):
        page.keyboard.press(key)
        if until():
            return
    raise Error("it cannot be reached with the keyboard")


def test_a_page_that_is_left_open_says_that_nobody_is_signed_in(
    browser: Browser, shown: Shown
) -> None:
    page = browser.new_page()
    sign_in(page, shown.url, shown.key)
    page.goto(f"{shown.url}/door")

    def told(until: Callable[[], bool]) -> bool:
        shown.monitor.post(level_message(-20.0, -10.0, hearing=True))
        page.wait_for_timeout(100)  # the browser does nothing unless it is waited for
        return until()

    meter = page.locator("[data-level]")
    assert settled(lambda: told(lambda: meter.text_content() == "-20 dB"))
    shown.context.keys.revoke("Phone")
    assert settled(lambda: told(lambda: "sign-in" in page.url))
