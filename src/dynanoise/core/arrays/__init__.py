"""Checks of the arrays that users bring."""
