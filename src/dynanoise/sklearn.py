"""Defended scikit-learn classifiers: `DefendedClassifier`."""

from __future__ import annotations

from dynanoise.integrations.sklearn import DefendedClassifier

__all__ = ["DefendedClassifier"]
