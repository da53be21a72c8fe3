"""Signatures on disk."""
