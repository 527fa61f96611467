"""`defense.yaml`: the configuration of a deployed defense."""
