"""The search for a defense's parameters."""
