"""Ports for tests: nobody else gets them between being chosen and being used."""

from __future__ import annotations

import socket

import pytest

from tests.integration.broker import free_port


def test_a_port_is_kept_for_the_server_that_it_was_chosen_for() -> None:
    place = ("127.0.0.1", free_port())
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(place)
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(place)  # as for a connection that needs a port
    with socket.create_server(place), socket.create_connection(place) as connection:
        assert connection.getpeername() == place
