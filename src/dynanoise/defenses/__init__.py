"""Defenses: logits to probabilities at answer time, one file each."""
