"""Attacks: outputs of target and shadow models become membership scores, larger = member."""
