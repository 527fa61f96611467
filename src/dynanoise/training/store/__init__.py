"""Trained models in a folder or at an address."""
