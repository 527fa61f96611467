"""The command line, one file a command."""

from __future__ import annotations

from dynanoise.cli.main import app

__all__ = ["app"]
