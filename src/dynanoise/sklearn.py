"""Defended scikit-learn classifiers: `DefendedClassifier` and `OutOfFoldClassifier`."""

from __future__ import annotations

from dynanoise.integrations.out_of_fold.classifier import OutOfFoldClassifier
from dynanoise.integrations.sklearn import DefendedClassifier

__all__ = ["DefendedClassifier", "OutOfFoldClassifier"]
