"""Defended scikit-learn classifiers: `DefendedClassifier`."""

from __future__ import annotations

from dynanoise.deploy.estimator import DefendedClassifier

__all__ = ["DefendedClassifier"]
