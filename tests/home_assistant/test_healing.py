"""The device, Home Assistant and the broker go and come back; nobody has to do anything."""

from __future__ import annotations

from collections.abc import Callable

from tests.home_assistant.door import COMMANDING, SHOWN, Door, announced
from tests.home_assistant.home_assistant import HomeAssistant
from tests.integration.broker import Broker, Subscriber
from tests.integration.waiting import settled

MakeDoor = Callable[..., Door]


def test_the_device_goes_and_comes_back(door: MakeDoor) -> None:
    front = door()
    front.open()
    heard = front.hear("ada_right_phrase")["id"]
    for leave in (front.cut_power, front.close):
        leave()
        assert settled(lambda: set(front.shown().values()) == {"unavailable"})
        front.open()
        assert settled(lambda: "unavailable" not in _but_the_sound(front))
        assert front.shown()[front.entity("listening")] == "on"
        assert front.shown()[front.entity("enrolled")] == "1"
        back = front.wait_for("access", lambda got: got["state"] != "unavailable")
        assert back["attributes"]["id"] == heard, "coming back is no decision"
        heard = front.hear("ada_right_phrase")["id"]


def test_home_assistant_goes_and_comes_back(
    broker: Broker, home: HomeAssistant, door: MakeDoor
) -> None:
    front = door()
    front.open()
    heard = front.hear("ada_right_phrase")["id"]
    with Subscriber(broker, "homeassistant/#") as listener:
        everything = len(SHOWN) + len(COMMANDING)
        assert settled(lambda: len(announced(listener, front.device)) == everything)
        topics = announced(listener, front.device)
        home.stop()
        listener.messages.clear()
        home.start()
        # Said again when it was born, beside what the broker had kept.
        assert settled(lambda: announced(listener, front.device) == topics)
        assert not any(message.retain for message in listener.on("/config"))
    _is_right_again(front, heard)


def test_what_happened_while_home_assistant_was_away(home: HomeAssistant, door: MakeDoor) -> None:
    front = door()
    front.open()
    front.wait_for("listening", "on")
    home.stop()
    told = front.tell("disarm")
    assert told.returncode == 0, told.stderr
    home.start()
    front.wait_for("listening", "off")
    home.stop()
    front.close()
    home.start()
    assert settled(lambda: set(front.shown().values()) == {"unavailable"})
    front.open()
    front.wait_for("listening", "on")


def test_the_broker_goes_and_comes_back_empty(
    broker: Broker, home: HomeAssistant, door: MakeDoor, expected: list[str]
) -> None:
    expected += [
        r"\[homeassistant\.components\.mqtt\.client\] Disconnected from MQTT server 127\.0\.0\.1:",
        r"\[homeassistant\.components\.mqtt\.client\] Failed to connect to MQTT server due to ex",
        r"\[homeassistant\.components\.mqtt\.client\] Error returned from MQTT server: The conn",
        # It is about to say that it is online.
        r"\[homeassistant\] Error doing job: Task exception was never retrieved",
    ]
    front = door()
    front.open()
    heard = front.hear("ada_right_phrase")["id"]
    broker.kill()
    assert settled(lambda: set(front.shown().values()) == {"unavailable"})
    broker.start()
    with Subscriber(broker, "homeassistant/#") as listener:
        everything = len(SHOWN) + len(COMMANDING)
        assert settled(lambda: len(announced(listener, front.device)) == everything)
    assert settled(lambda: "unavailable" not in _but_the_sound(front)), front.shown()
    _is_right_again(front, heard)


def _is_right_again(front: Door, heard: str) -> None:
    assert settled(lambda: "unavailable" not in _but_the_sound(front)), front.shown()
    assert len(front.shown()) == len(SHOWN) + len(COMMANDING)
    assert front.shown()[front.entity("enrolled")] == "1"
    before = front.wait_for("access", lambda got: got["attributes"].get("id") == heard)
    states = front.home.watch("state_changed")
    # Both ways: a decision comes in, a tap goes out and is answered.
    event = front.hear("ada_right_phrase")
    assert event["event_type"] == "granted"
    assert event["id"] != before["attributes"]["id"]
    # What went by before was no news.
    news = [
        each["new_state"]["attributes"].get("id")
        for each in states.of(entity_id=front.entity("access"))
    ]
    assert set(news) <= {heard, event["id"]}
    front.tap("switch.turn_off", "listening")
    front.wait_for("listening", "off")
    front.tap("switch.turn_on", "listening")
    front.wait_for("listening", "on")


def _but_the_sound(front: Door) -> list[str]:
    """All states but the sound's, which is there only while there is some."""
    sound = front.entity("sound_level")
    return [state for entity, state in front.shown().items() if entity != sound]
