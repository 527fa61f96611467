"""Sentences about attackers and results, the same on every page."""
