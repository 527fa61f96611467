"""Audits of outputs, model files, estimators and endpoints that the user brings."""
