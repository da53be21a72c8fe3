"""Who is on the other end of a local socket."""

from __future__ import annotations

import os
import socket
import struct

_PEER_GROUPS = getattr(socket, "SO_PEERGROUPS", 59)
_MOST_GROUPS = 256
"""As many as fit into what Python reads of a socket's option."""


def may_watch(peer: socket.socket, *, shared: bool) -> bool:
    """Whether the process that connected may watch this one.

    The kernel says who it is (SO_PEERCRED and SO_PEERGROUPS, unix(7) and socket(7)); the modes of
    socket and folder say the same, and may have been changed.

    Args:
        peer: the accepted connection.
        shared: whether members of this process's group may too, besides its own user and root.
    """
    size = struct.calcsize("3i")
    _, user, group = struct.unpack(
        "3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    )
    if user in {0, os.geteuid()}:
        return True
    return shared and os.getegid() in {group, *_groups(peer)}


def _groups(peer: socket.socket) -> tuple[int, ...]:
    try:
        found = peer.getsockopt(socket.SOL_SOCKET, _PEER_GROUPS, 4 * _MOST_GROUPS)
    except OSError:  # a kernel before 4.13, or more groups than anybody has
        return ()
    return struct.unpack(f"{len(found) // 4}I", found)
