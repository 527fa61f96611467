"""What a wrapped classifier was told, checked when it is needed."""

from __future__ import annotations

import re
from copy import copy
from typing import Any

import numpy as np

from dynanoise.config.configuration import FRESH
from dynanoise.core.defense import Defense
from dynanoise.core.errors import InputError
from dynanoise.core.numerics import Floats
from dynanoise.noise.experiment import ExperimentKey
from dynanoise.noise.secrets import RootKey, Secret

KEYED = "keyed"


def checked(estimator: Any, defense: Any, noise: Any, key: Any) -> tuple[Defense, RootKey]:
    """The defense, and where the root key is.

    Raises:
        InputError: if something is not what it should be.
    """
    if isinstance(defense, type) or not isinstance(defense, Defense):
        raise InputError(
            f"defense is of type {type(defense).__name__}.",
            "Pass a defense, such as dn.DynaNoise(), or None.",
        )
    if not isinstance(noise, str) or noise not in (KEYED, FRESH):
        # Not shown: it may be a source with its state.
        raise InputError(f"noise is of type {type(noise).__name__}.", 'Use "keyed" or "fresh".')
    if not hasattr(estimator, "predict_proba"):
        raise InputError(
            f"{type(estimator).__name__} has no predict_proba.",
            "Pass a classifier that gives probabilities; "
            "sklearn.calibration.CalibratedClassifierCV makes one of others.",
        )
    # A copy: what a defense remembers of itself would count as a change of the parameter.
    defense = copy(defense)
    if isinstance(key, ExperimentKey | Secret):
        return defense, key
    return defense, Secret(key)


def looks_secret(key: Any) -> bool:
    """Whether this is rather a secret than where one is.

    >>> looks_secret("5f" * 32), looks_secret("env:" + "5f" * 32), looks_secret("env:DYNANOISE_KEY")
    (True, True, False)
    """
    if isinstance(key, bytes | bytearray):
        return True
    kind, _, place = key.partition(":") if isinstance(key, str) else ("", "", "")
    return re.fullmatch(r"\s*[0-9a-fA-F]{32,}\s*", place or kind) is not None


def probabilities(estimator: Any, X: Any) -> Floats:
    """What a classifier answers, float32 or float64 [N, K].

    Raises:
        InputError: if it has several targets.
    """
    said = estimator.predict_proba(X)
    # Of several targets scikit-learn gives a list, perhaps of different numbers of classes.
    several = isinstance(said, list) and np.ndim(said[0] if said else 0) > 1
    probs: Floats = np.asarray(said[0] if several else said)
    if several or probs.ndim != 2:
        shown = f"{len(said)} arrays" if several else f"shape {probs.shape}"
        raise InputError(
            f"{type(estimator).__name__} answers with {shown}.",
            "Pass a classifier of one target, with probabilities [N, K].",
        )
    return probs if probs.dtype in (np.float32, np.float64) else probs.astype(np.float64)
