"""From data to trained models to `Outputs`; the only room that imports torch."""
