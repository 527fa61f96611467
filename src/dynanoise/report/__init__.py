"""Reports for people: results become tables, sentences, charts and files."""
