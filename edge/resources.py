"""Finds the files that come with the software: in an installed package, or in a checkout."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def _find(name: str) -> Path:
    inside = _PACKAGE / "data" / name
    return inside if inside.is_dir() else _PACKAGE.parent / name


def models_directory() -> Path:
    """Folder of the `*.tflite` files and their cards."""
    return _find("models")


def config_directory() -> Path:
    """Folder of the example configurations."""
    return _find("config")


def demo_directory() -> Path:
    """Folder of the demo recordings, part of the package in both cases."""
    return _PACKAGE / "demo" / "recordings"
