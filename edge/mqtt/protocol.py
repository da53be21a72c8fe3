"""Which version of MQTT to speak with a broker that has not said which it knows."""

from __future__ import annotations

from paho.mqtt.enums import MQTTProtocolVersion

NEWER = MQTTProtocolVersion.MQTTv5
OLDER = MQTTProtocolVersion.MQTTv311

_PATIENCE = 3


class ProtocolChoice:
    """Prefers MQTT 5, because a broker that speaks it can be told when a decision expires.

    An older broker refuses the version, hangs up, or (amqtt) waits for more without a word. So does
    one that is busy or just starting: a broker that has spoken MQTT 5 before is given several
    chances to do it again.

    Attributes:
        version: what to speak on the next connection.
    """

    def __init__(self, setting: str) -> None:
        """Begin with what `mqtt.protocol` says."""
        self._setting = setting
        self._doubts_left = 1
        self.version = OLDER if setting == "3.1.1" else NEWER

    def accepted(self) -> None:
        """The broker has accepted a connection in this version."""
        if self.version is NEWER:
            self._doubts_left = _PATIENCE

    def failed(self, *, try_older: bool) -> bool:
        """A connection ended, or did not come about.

        Args:
            try_older: the version may have been the reason.

        Returns:
            Whether to try again at once, with the version that `version` has now.
        """
        if self._setting != "auto":
            return False
        if self.version is OLDER:
            # Begin with the newer one again: the broker may have been replaced meanwhile.
            self.version = NEWER
            return False
        if not try_older:
            return False
        self._doubts_left -= 1
        if self._doubts_left > 0:
            return False
        self._doubts_left = 1
        self.version = OLDER
        return True
