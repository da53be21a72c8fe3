"""Choosing the microphone by speaking: what each hears is shown, the clearest is proposed."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edge.cli.auditing import audited
from edge.cli.display import FLOOR_DBFS, meter
from edge.cli.output import complain, console
from edge.config import find_config
from edge.config.editing import changed, replace_file
from edge.config.loading import read_config
from edge.errors import ConfigError, EnvironmentFault

if TYPE_CHECKING:
    from edge.audio.devices import InputDevice
    from edge.config import Config
    from edge.enrolment.choosing import Heard
    from edge.store import ProfileStore

_TRIES = 2
_ANSWERS = 3
_NAME_CELLS = 34
_METER_CELLS = 24


def chosen_device(args: argparse.Namespace, config: Config, store: ProfileStore) -> str | None:
    """The microphone to use: as named, or as somebody at a terminal chooses it.

    Asked is only where there is something to choose: more than one microphone and none configured,
    or `--choose-microphone`. A script is never asked.

    Returns:
        Its name or number; None for the configured one, or else the system's default.

    Raises:
        MicrophoneError: the sound system does not answer.
    """
    if args.device is not None:
        return str(args.device)
    if config.audio.device is not None and not args.choose_microphone:
        return None
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        if args.choose_microphone:
            complain("nobody is at a terminal to choose a microphone: it is left as it is")
        return None
    from edge.audio.devices import list_devices
    from edge.enrolment.choosing import real_microphones

    devices = list_devices()
    real = real_microphones(devices)
    if len(real) < 2:
        if args.choose_microphone:
            complain("there are not two microphones to choose from: it is left as it is")
        return None
    return _Choice(args, config, store, devices, real).made()


class _Choice:
    def __init__(
        self,
        args: argparse.Namespace,
        config: Config,
        store: ProfileStore,
        devices: Sequence[InputDevice],
        real: Sequence[InputDevice],
    ) -> None:
        self._args = args
        self._config = config
        self._store = store
        self._devices = devices
        self._real = real
        self._console = console(sys.stderr)

    def made(self) -> str | None:
        """The name of the microphone that was chosen; None where none hears anybody."""
        from edge.enrolment.choosing import best_of, lasting_name

        for _ in range(_TRIES):
            heard = self._heard()
            best = best_of(heard)
            self._show(heard, best)
            if best is not None:
                chosen = self._confirmed(heard, best)
                self._keep(lasting_name(chosen.device, self._devices))
                return chosen.device.name
            self._say("No microphone heard you: speak up, or check plugs and levels.", "yellow")
        self._say("It goes on with the microphone that is used otherwise.")
        return None

    def _heard(self) -> list[Heard]:
        """What every microphone hears: all at once, those that could not be opened one by one."""
        from edge.enrolment.choosing import LISTEN_S

        self._say(
            f"There are {len(self._real)} microphones. Go where you will stand, and talk for"
            f" {LISTEN_S:.0f} seconds.",
            "bold",
        )
        heard = self._listen(self._real)
        for number, one in enumerate(heard):
            # Some systems open one at a time only.
            if one.fault is not None and len(self._real) > 1:
                self._say(f"Now for {one.device.name} alone: talk once more.", "bold")
                heard[number] = self._listen([one.device])[0]
        return heard

    def _listen(self, devices: Sequence[InputDevice]) -> list[Heard]:
        from rich.live import Live
        from rich.text import Text

        from edge.enrolment.choosing import listen_to

        ascii_only = self._console.options.ascii_only
        with Live(console=self._console, transient=True, auto_refresh=False) as live:

            def levels(now: Sequence[float]) -> None:
                lines = Text(no_wrap=True, overflow="ellipsis")
                for device, dbfs in zip(devices, now):
                    name = _short(device.name)
                    lines.append(f"  {name:<{_NAME_CELLS}} ")
                    lines.append_text(meter(dbfs, _METER_CELLS, ascii_only=ascii_only))
                    lines.append(f" {max(dbfs, FLOOR_DBFS):4.0f} dB\n")
                lines.rstrip()
                live.update(lines, refresh=True)

            return listen_to(devices, levels)

    def _show(self, heard: Sequence[Heard], best: Heard | None) -> None:
        for number, one in enumerate(heard, start=1):
            mark = "*" if one is best else " "
            self._say(f"{mark} {number}  {_short(one.device.name):<{_NAME_CELLS}} {one.words()}")

    def _confirmed(self, heard: Sequence[Heard], best: Heard) -> Heard:
        """The best one, unless another is wanted."""
        number = list(heard).index(best) + 1
        for _ in range(_ANSWERS):
            answer = self._ask(f"Use {number}? Enter for yes, or another number: ")
            if answer in ("", "y", "yes", str(number)):
                return best
            if answer.isdecimal() and 1 <= int(answer) <= len(heard):
                other = heard[int(answer) - 1]
                if other.quality is not None:
                    return other
            self._say(f"Give a number from 1 to {len(heard)} of one that can be opened.", "yellow")
        return best

    def _keep(self, name: str) -> None:
        """Put it into the configuration, if somebody may and wants to; else say how."""
        from edge.enrolment.choosing import as_setting

        file, setting = find_config(self._args.config), as_setting(name)
        if file is None:
            self._by_hand(setting, "~/.config/edge-voice/config.yaml")
            return
        try:
            former = read_config(file)
            new = changed(former, file, "audio", "device", setting)
            if new == former:
                return
            if not os.access(file, os.W_OK):
                self._by_hand(setting, str(file))
                return
            answer = self._ask(f"Keep it as audio.device in {file}? [y/N] ")
            if answer not in ("y", "yes"):
                self._by_hand(setting, str(file))
                return
            replace_file(file, former, new)
        except (ConfigError, EnvironmentFault) as error:
            self._say(f"It cannot be kept: {error}.", "yellow")
            self._by_hand(setting, str(file))
            return
        audited(self._store, self._config)("change", what="audio.device")
        self._say(f"Kept: the service uses it once it is started again ({file}).")

    def _by_hand(self, setting: str, file: str) -> None:
        self._say(f"To keep it, put this into {file}:\naudio:\n  device: {setting}")

    def _say(self, text: str, style: str = "") -> None:
        self._console.print(text, style=style)

    def _ask(self, question: str) -> str:
        self._console.print(question, end="")
        return sys.stdin.readline().strip().lower()


def _short(name: str) -> str:
    return name if len(name) <= _NAME_CELLS else name[: _NAME_CELLS - 1] + "…"
