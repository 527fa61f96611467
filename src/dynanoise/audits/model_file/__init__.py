"""Audits of a model file, with tables of members and non-members."""
