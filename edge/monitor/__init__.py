"""The running daemon as it can be watched on its own machine: messages, a socket, and who looks.

docs/monitor.md describes what passes through the socket.
"""
