"""Fixtures of the integration tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.virtual_microphone import VirtualMicrophone, skip_or_fail_without_parts


@pytest.fixture
def microphone() -> Iterator[VirtualMicrophone]:
    """A sound server of the test's own to play into and to record from."""
    skip_or_fail_without_parts()
    with VirtualMicrophone() as room:
        yield room
