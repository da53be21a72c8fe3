"""Shows the daemon at work to `edge-voice monitor`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from edge.access.decider import Judgement
from edge.config import Config
from edge.errors import EnvironmentFault
from edge.monitor.history import History
from edge.monitor.levels import Levels
from edge.monitor.messages import Message, decision_message, state_message, utterance_message
from edge.monitor.place import place_of
from edge.monitor.server import MonitorServer
from edge.types import AudioBlock

_GOES_ON = {"started", "accepted", "refused"}
"""States of an enrolment that is not over."""

_log = logging.getLogger(__name__)


class Monitoring:
    """An observer that tells the monitor's socket.

    Args:
        config: where the socket is to be.
        status: what the device says of itself, by the names of the MQTT status.
        asking: whether digits are asked for.
        hearing: whether an utterance is being heard.
    """

    def __init__(
        self,
        config: Config,
        *,
        status: Callable[[], Mapping[str, Any]],
        asking: Callable[[], bool],
        hearing: Callable[[], bool],
    ) -> None:
        self._config = config
        self._status, self._asking, self._hearing = status, asking, hearing
        self._levels = Levels()
        self._server: MonitorServer | None = None
        self._complained = False

    def block(self, block: AudioBlock, level_dbfs: float) -> None:
        """Tell how loud it is, now and then."""
        server = self._server
        if server is not None:
            message = self._levels.take(
                block, level_dbfs, hearing=self._hearing(), watched=server.watched
            )
            if message is not None:
                server.post(message)

    def decided(self, judgement: Judgement) -> None:
        """Tell what was heard, and what came of it."""
        server = self._server
        if server is not None:
            heard = utterance_message(judgement)
            if heard is not None:
                server.post(heard)
            server.post(decision_message(judgement.decision))

    def tick(self) -> None:
        """Open the socket, as soon as there can be one, and tell what the device is at."""
        if self._server is None:
            self._open()
        if self._server is not None:
            self._server.post(state_of(self._status(), asking=self._asking()))

    def _open(self) -> None:
        device = self._config.device
        try:
            place = place_of(self._config)
            self._server = MonitorServer(place, History(device.id, device.name))
        except EnvironmentFault as error:
            # A door that nobody can watch is still a door. It is tried again, since whoever has
            # the place may leave it: this very service before a reload, for one.
            if not self._complained:
                _log.warning("edge-voice monitor cannot watch this service: %s", error)
            self._complained = True

    def close(self) -> None:
        """Take the socket away."""
        if self._server is not None:
            self._server.close()


def state_of(status: Mapping[str, Any], *, asking: bool) -> Message:
    """What the device is at, in one word, from its MQTT status.

    Args:
        status: by the names of the MQTT status.
        asking: whether digits are asked for.
    """
    fields: dict[str, Any] = {
        "enrolled": status.get("enrolled"),
        "problem": status.get("problem") or status.get("challenge_problem"),
    }
    enrolment = status.get("enrolment")
    if status.get("microphone") == "lost":
        state = "no_microphone"
        fields["detail"] = status.get("reason")
    elif isinstance(enrolment, Mapping) and enrolment.get("state") in _GOES_ON:
        state = "enrolling"
        fields["detail"] = enrolment.get("message")
        fields.update({key: enrolment.get(key) for key in ("person", "done", "required")})
    elif status.get("listening") is False:
        state = "off"
    elif status.get("locked_out"):
        state = "locked_out"
        fields["until"] = status.get("locked_out_until")
    elif asking:
        state = "asking"
    else:
        state = "listening" if status.get("microphone") == "listening" else "starting"
    return state_message(state, **fields)
