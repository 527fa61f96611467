"""Renderers of tables and reports: terminal, Markdown, HTML and CSV."""
