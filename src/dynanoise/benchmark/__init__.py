"""Presets and data of your own: plan, train, evaluate, sweep."""
