"""Which version of MQTT is tried when."""

from __future__ import annotations

import pytest

from edge.mqtt.link import NEWER, OLDER, ProtocolChoice


def test_an_old_broker_is_spoken_to_in_the_older_version_at_once() -> None:
    choice = ProtocolChoice("auto")
    for _ in range(3):
        assert choice.version is NEWER
        assert choice.failed(try_older=True)
        assert choice.version is OLDER
        choice.accepted()
        assert not choice.failed(try_older=False)


def test_other_failures_say_nothing_about_the_version() -> None:
    choice = ProtocolChoice("auto")
    for _ in range(10):
        assert not choice.failed(try_older=False)
        assert choice.version is NEWER


def test_a_broker_that_spoke_the_newer_version_gets_more_chances() -> None:
    choice = ProtocolChoice("auto")
    choice.accepted()
    assert not choice.failed(try_older=True)
    assert not choice.failed(try_older=True)
    assert choice.failed(try_older=True)
    assert choice.version is OLDER
    assert not choice.failed(try_older=True)
    assert choice.version is NEWER
    assert choice.failed(try_older=True)


def test_patience_with_a_broker_that_is_slow_to_accept() -> None:
    # In a version that the broker may not know, it may wait for more for ever.
    choice = ProtocolChoice("auto")
    assert choice.accept_timeout_s == 3.0
    assert choice.failed(try_older=True)
    assert choice.accept_timeout_s == 10.0
    choice.failed(try_older=False)
    assert choice.accept_timeout_s == 3.0
    choice.accepted()
    assert choice.accept_timeout_s == 10.0
    assert ProtocolChoice("5").accept_timeout_s == 10.0
    assert ProtocolChoice("3.1.1").accept_timeout_s == 10.0


@pytest.mark.parametrize(("setting", "version"), [("5", NEWER), ("3.1.1", OLDER)])
def test_a_setting_is_kept_to(setting: str, version: object) -> None:
    choice = ProtocolChoice(setting)
    for _ in range(5):
        assert choice.version is version
        assert not choice.failed(try_older=True)
        choice.accepted()
