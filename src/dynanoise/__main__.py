"""``python -m dynanoise``."""

from dynanoise.cli import app

app(prog_name="dynanoise")
