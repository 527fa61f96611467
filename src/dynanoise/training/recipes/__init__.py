"""Recipes: ways to train a model, one file each."""
