"""Recordings of utterances, played again: how often they are called what they are."""
