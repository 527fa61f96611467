"""Contenders x attacks -> Records."""
