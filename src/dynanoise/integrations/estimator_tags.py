"""Tags of a classifier that wraps a classifier of scikit-learn's interface."""

from __future__ import annotations

from dataclasses import replace
from typing import Any


def take_tags(tags: Any, estimator: Any) -> Any:
    """Take over what a wrapped classifier says of its inputs and classes.

    Args:
        tags: ``sklearn.utils.Tags`` of the wrapping classifier; changed in place.
        estimator: the wrapped classifier; without tags of its own it changes nothing.

    Returns:
        The same tags.

    >>> from sklearn.dummy import DummyClassifier
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.utils import get_tags
    >>> take_tags(get_tags(DummyClassifier()), LogisticRegression()).input_tags.sparse
    True
    """
    from sklearn.utils import get_tags

    if hasattr(estimator, "__sklearn_tags__"):
        inner = get_tags(estimator)
        tags.input_tags = inner.input_tags
        if inner.classifier_tags is not None:
            tags.classifier_tags = replace(inner.classifier_tags, multi_label=False)
    return tags
