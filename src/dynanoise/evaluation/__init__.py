"""Methods against attacks under a threat model."""
