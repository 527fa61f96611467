"""Inputs that an attacker chooses by earlier outputs, and what they say about a record."""
