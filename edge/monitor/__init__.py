"""Watching a running service on its own machine: messages, a socket, and both ends of it.

docs/monitor.md describes the messages.
"""
