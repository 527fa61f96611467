"""Attacks: answers to membership scores; `statistics` and one file a rule."""
