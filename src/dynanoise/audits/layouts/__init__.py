"""Folders that other tools write: read as they are, some records at a time, never by pickle."""
