"""Tables and reports as text, Markdown and HTML."""
