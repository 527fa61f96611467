"""A scikit-learn classifier with defended predictions, and what its defense learns in `fit`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from sklearn import get_config
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.exceptions import NotFittedError as SklearnNotFittedError
from sklearn.model_selection._search import BaseSearchCV
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from dynanoise.config.configuration import FRESH, Configuration
from dynanoise.core import numerics
from dynanoise.core.defense import Defense
from dynanoise.core.errors import InputError, NotFittedError, check
from dynanoise.core.numerics import Float64, Floats
from dynanoise.core.outputs import Outputs, View
from dynanoise.defenses import response
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.integrations.batches import MIXED, first_records, refuse_mixing
from dynanoise.integrations.digests import fitted_digest, replicas_digest
from dynanoise.integrations.estimator_tags import take_tags
from dynanoise.integrations.holdout import Data, check_classes, split_records
from dynanoise.integrations.key_reference import KeyReference
from dynanoise.noise.cells import starting_width
from dynanoise.noise.keyed import Keyed
from dynanoise.noise.keys import DEFAULT, ExperimentKey, RootKey, Secret

KEYED = "keyed"

CELL_WIDTH = 8.0
"""Cell width for a classifier fitted elsewhere: 2.5 times the gap between two logits that give
one of two classes a probability of 96%."""


SATURATED = 0.99
"""A defended probability above which noise and temperature did not matter."""

MOST_SATURATED = 0.1
"""Share of such predictions above which a warning is due."""

ENOUGH = 50
"""Predictions below which their share is not computed."""


class DefendedClassifier(KeyReference, ClassifierMixin, MetaEstimatorMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier whose predictions pass through a defense.

    Wraps any classifier with ``predict_proba``. The logits are ln max(p, tiny) of its
    probabilities p, for two classes as for many: ``decision_function`` is log-odds for some
    classifiers only. ``predict`` is the label of the defended prediction, so the two never
    contradict each other. The label that a defense keeps is that of the classifier's own
    ``predict``, which is not always its most probable class: not behind a chosen threshold, for
    one. It is called for every prediction of such a defense.

    Threat model: the one of the defense and the noise, see `DynaNoise` and `Keyed`, for an attacker
    who queries the model. This object contains the undefended classifier. A classifier that
    predicts 0 and 1, such as a fully grown tree, has logits 708 apart, beyond any usual noise:
    calibrate it first, or use `CalibratedLabel`. A warning gives the share of such predictions.

    Args:
        estimator: a classifier. `fit` fits a clone of it. A fitted one predicts without `fit`, in
            its state at the first prediction: wrap it again after fitting it again. A
            ``FrozenEstimator`` stays as it is.
        defense: None for ``DynaNoise(keep_label=True)``.
        noise: "keyed", the same prediction every time; or "fresh", new noise for every prediction,
            seeded by the operating system, which repeated queries average away.
        key: key of keyed noise: a reference "env:NAME" or "file:PATH" that is looked up for each
            prediction, never the secret itself; or an `ExperimentKey`, which is not secret.
        cell_width: cell width of keyed noise, in logits. None for 2.5 times the median gap
            between the two largest logits, to 3 digits: on held-out records if `fit` has some, else
            on the training records, where it is wider; without `fit` 8.
        model: name of the model for keyed noise. None for the name of the classifier's class.
        weights: for keyed noise, 64 hexadecimal digits that differ between versions of the model.
            None for `fitted_digest` of the classifier, taken by `fit` and kept, so that replicas
            that load it agree; without `fit` taken at the first prediction, which is an error if
            replicas would have other digests.
        holdout: share of the records of each class, spread evenly over their order, that `fit`
            holds out from the classifier: for a defense that learns, such as `CalibratedLabel`,
            and for the cell width. With ``groups`` in `fit` the share of the groups. None for none.

    Attributes:
        estimator_: the fitted classifier.
        defense_: the fitted defense.
        noise_: "fresh", or the `Keyed` noise with cell width, name and digest.
        classes_: class labels, [K].
        n_features_in_: number of features of the classifier.
        feature_names_in_: names of the classifier's features, if it has them.

    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from dynanoise.noise.keys import ExperimentKey
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LogisticRegression(max_iter=1000)
    >>> defended = DefendedClassifier(model, key=ExperimentKey(0)).fit(X, y)  # not secret
    >>> bool((defended.predict(X) == defended.estimator_.predict(X)).all())
    True
    >>> probs = defended.predict_proba(X[:2])
    >>> probs.shape, bool((probs == defended.predict_proba(X)[:2]).all())
    ((2, 3), True)
    """

    def __init__(
        self,
        estimator: Any,
        defense: Defense | None = None,
        *,
        noise: str = KEYED,
        key: str | Secret | ExperimentKey = DEFAULT,
        cell_width: float | None = None,
        model: str | None = None,
        weights: str | None = None,
        holdout: float | None = None,
    ) -> None:
        self.estimator = estimator
        self.defense = defense
        self.noise = noise
        self.key = key
        self.cell_width = cell_width
        self.model = model
        self.weights = weights
        self.holdout = holdout

    @classmethod
    def configured(cls, estimator: Any, configuration: Configuration | str | Path) -> Self:
        """Wrap a classifier with the defense and noise of a configuration.

        Args:
            estimator: a classifier.
            configuration: a `Configuration`, or the path of a `defense.yaml`.

        Raises:
            InputError: if the file is not a configuration.
        """
        configuration = Configuration.of(configuration)
        noise = configuration.keyed_noise
        if noise is None:
            return cls(estimator, configuration.defense, noise=FRESH)
        return cls(
            estimator,
            configuration.defense,
            key=noise.key,  # type: ignore[arg-type]  # a Secret, which Configuration sees to
            cell_width=noise.cell_width,
            model=noise.model,
            weights=noise.weights,
        )

    def configuration(self) -> Configuration:
        """The configuration with which another deployment of the same model responds alike.

        It applies to the model's probabilities, and the label it keeps is the most probable class.

        Raises:
            InputError: if the key is that of an experiment.
        """
        deployed = self._deployed()
        return Configuration(deployed.defense, deployed.noise, input="probabilities")

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        reference: tuple[Any, Any] | None = None,
        groups: Any = None,
        **params: Any,
    ) -> Self:
        """Fit a clone of the classifier, and the defense if it learns from held-out records.

        Args:
            X: training inputs, as the classifier takes them.
            y: their classes, [N]; or one-hot rows [N, K], whose column numbers are the classes.
            reference: inputs and classes that the classifier is not fitted to, better hundreds.
                With them ``holdout`` is not used.
            groups: patient or user of each record, [N]: ``holdout`` holds out all records of a
                group or none, as ``GroupShuffleSplit`` of scikit-learn does. Without them copies
                of training records count as held out, and the confidences that a defense learns
                are too high. The classifier gets them as well if its ``fit`` takes them.
            params: for the classifier, such as ``sample_weight``; routed if metadata routing is on.

        Returns:
            This object.

        Raises:
            InputError: if a parameter is of the wrong type or out of range, a class is missing, or
                the defense learns from held-out records and there are none.
        """
        defense, key = self._checked()
        y = check_classes(y)
        splits = reference is None and self.holdout is not None
        routing = get_config().get("enable_metadata_routing")
        takes = routing or _takes_groups(self.estimator)
        check(
            groups is None or splits or takes,
            "groups were passed, and neither holdout nor the classifier uses them.",
            "Set holdout and pass no reference, or leave groups out.",
        )
        if takes:
            params["groups"] = groups
        params = {name: value for name, value in params.items() if value is not None}
        train, held_out, params = split_records(Data(X, y), reference, self.holdout, params, groups)
        if routing:
            params = process_routing(self, "fit", **params).estimator.fit
        estimator = clone(self.estimator)
        estimator.fit(train.inputs, train.labels, **params)
        _check_probabilistic(estimator)
        keep = defense.keeps_labels

        def logits(inputs: Any) -> Float64:
            return response.logits_of(*predict_outputs(estimator, inputs, keep_label=keep))

        defense = _fit_defense(defense, logits, estimator.classes_, train, held_out)
        noise: str | Keyed = FRESH
        self._watched = [0, 0]
        if self.noise == KEYED:
            width = self.cell_width
            if width is None:
                rows = logits((held_out or train).inputs)
                width = measure_width(rows, otherwise=CELL_WIDTH)
                if rows.shape[1] > 1:
                    probs = defense(rows, response.system_noise())
                    self._watched = [len(probs), _saturated(probs)]
                    _warn_saturated(self._watched[1], self._watched[0], stacklevel=3)
            refuse_mixing(estimator, first_records(train.inputs, MIXED), predict_probabilities)
            noise = self._keyed(estimator, key, width, self.weights or fitted_digest(estimator))
        self.estimator_, self.defense_, self.noise_ = estimator, defense, noise
        return self

    def predict_proba(self, X: Any) -> Floats:
        """Compute defended probabilities. Safe to call from several threads.

        Args:
            X: inputs of N records, as the classifier takes them.

        Returns:
            Probabilities [N, K] in the classifier's dtype.

        Raises:
            SecretError: if the noise is keyed and there is no usable secret.
        """
        deployed = self._deployed(X)
        keep = deployed.defense.keeps_labels
        probs, labels = predict_outputs(deployed.estimator, X, keep_label=keep)
        if probs.shape[1] == 1:  # a single class hides nothing
            return np.ones_like(probs)
        noise = deployed.noise if isinstance(deployed.noise, Keyed) else response.system_noise()
        defended = response.defend(
            probs, deployed.defense, noise, kind="probabilities", labels=labels
        )
        self._watch(defended)
        return defended

    def predict_log_proba(self, X: Any) -> Floats:
        """ln of `predict_proba`, [N, K], finite."""
        probs = self.predict_proba(X)
        return numerics.narrow(numerics.log_probabilities(probs), probs.dtype)

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """The label of each defended prediction, [N]; without ``keep_label`` perhaps another one.

        Args:
            X: inputs of N records, as the classifier takes them.

        Returns:
            Entries of ``classes_``.
        """
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])

    @property
    def classes_(self) -> npt.NDArray[Any]:
        """Class labels of the classifier, [K]."""
        return np.asarray(self._fitted().classes_)

    @property
    def n_features_in_(self) -> int:
        """Number of features of the classifier."""
        return int(self._fitted().n_features_in_)

    @property
    def feature_names_in_(self) -> npt.NDArray[Any]:
        """Names of the classifier's features."""
        return np.asarray(self._fitted().feature_names_in_)

    def __sklearn_is_fitted__(self) -> bool:
        try:
            self._fitted()
        except SklearnNotFittedError:
            return False
        return True

    def __sklearn_tags__(self) -> Any:
        tags = take_tags(super().__sklearn_tags__(), self.estimator)
        if not getattr(self._defense(), "keeps_labels", True):
            tags.classifier_tags.poor_score = True
        tags.non_deterministic = self.noise != KEYED
        return tags

    def get_metadata_routing(self) -> Any:
        """Routing of the parameters of `fit`: to this object and to the classifier."""
        mapping = MethodMapping().add(caller="fit", callee="fit")
        return (
            MetadataRouter(owner=type(self).__name__)
            .add_self_request(self)
            .add(estimator=self.estimator, method_mapping=mapping)
        )

    def deployed_defense(self) -> Defense:
        """The defense that `fit` fits, with all parameters checked."""
        return self._checked()[0]

    def deployed_noise(self) -> tuple[bool, float | None]:
        """True if the noise is keyed; and its cell width, None if `fit` has to measure it."""
        if self.noise != KEYED:
            return False, None
        noise = vars(self).get("noise_")
        if isinstance(noise, Keyed):
            return True, noise.cell_width
        width = None if self.cell_width is None else float(self.cell_width)
        if width is None and "estimator_" not in vars(self) and self.__sklearn_is_fitted__():
            width = CELL_WIDTH
        return True, width

    def _defense(self) -> Any:
        return DynaNoise(keep_label=True) if self.defense is None else self.defense

    def _checked(self) -> tuple[Defense, RootKey]:
        """The defense and the place of the root key, with all parameters checked."""
        defense = response.check_defense(self._defense())
        if not isinstance(self.noise, str) or self.noise not in (KEYED, FRESH):
            raise InputError(
                f"noise is {response.noise_text(self.noise)}.", 'Use "keyed" or "fresh".'
            )
        if not is_composite(self.estimator):
            _check_probabilistic(self.estimator)
        key = self.key
        # A copy: what a defense remembers of itself would count as a change of the parameter.
        return copy(defense), key if isinstance(key, ExperimentKey | Secret) else Secret(key)

    def _keyed(self, estimator: Any, key: RootKey, width: float, weights: str) -> Keyed:
        model = type(estimator).__name__ if self.model is None else self.model
        return Keyed(width, model, weights, key)

    def _fitted(self) -> Any:
        if "estimator_" in vars(self):
            return self.estimator_
        try:
            check_is_fitted(self.estimator)
        except (SklearnNotFittedError, TypeError):
            raise SklearnNotFittedError(
                "This DefendedClassifier is not fitted. Call fit(X, y), or pass a classifier that "
                "is fitted already."
            ) from None
        return self.estimator

    def _deployed(self, X: Any = None) -> _Deployed:
        """The parts that predict; ``X`` are inputs of a prediction, to check the digest with."""
        estimator = self._fitted()
        if "estimator_" in vars(self):
            return _Deployed(estimator, self.defense_, self.noise_)
        defense, key = self._checked()
        if self.noise != KEYED:
            return _Deployed(estimator, defense, FRESH)
        weights = self.weights or self._digest(estimator, X, keep_label=defense.keeps_labels)
        width = CELL_WIDTH if self.cell_width is None else self.cell_width
        return _Deployed(estimator, defense, self._keyed(estimator, key, width, weights))

    def _digest(self, estimator: Any, X: Any, *, keep_label: bool) -> str:
        # The classifier stands beside its digest: another one may be set.
        digested, digest = vars(self).get("_digested", (None, ""))
        if digested is estimator:
            return str(digest)
        if X is None:
            return fitted_digest(estimator)
        refuse_mixing(estimator, X, predict_probabilities)
        digest = replicas_digest(
            estimator, lambda replica: predict_outputs(replica, X, keep_label=keep_label)
        )
        self._digested = (estimator, digest)
        return digest

    def _watch(self, probs: Floats) -> None:
        """Count saturated predictions until there are enough of them to warn."""
        watched: list[int] = self.__dict__.setdefault("_watched", [0, 0])  # all, and saturated
        if watched[0] < ENOUGH:
            watched[0] += len(probs)
            watched[1] += _saturated(probs)
            _warn_saturated(watched[1], watched[0], stacklevel=4)


def _takes_groups(estimator: Any) -> bool:
    """Whether a classifier's ``fit`` takes groups of records; a search by ``**params``."""
    return isinstance(estimator, BaseSearchCV) or has_fit_parameter(estimator, "groups")


class _Deployed(NamedTuple):
    """A fitted classifier, its fitted defense and its noise."""

    estimator: Any
    defense: Defense
    noise: str | Keyed


def is_composite(estimator: Any) -> bool:
    """True for an estimator of others, which may have its methods only once it is fitted.

    >>> from sklearn.dummy import DummyClassifier
    >>> from sklearn.ensemble import StackingClassifier
    >>> dummy = DummyClassifier()
    >>> is_composite(StackingClassifier([("a", dummy)])), is_composite(dummy)
    (True, False)
    """
    parts = estimator.get_params().values() if hasattr(estimator, "get_params") else ()
    return any(hasattr(part, "fit") for part in parts)


def _check_probabilistic(estimator: Any) -> None:
    if not hasattr(estimator, "predict_proba"):
        raise InputError(
            f"{type(estimator).__name__} has no predict_proba.",
            "Pass a classifier that gives probabilities; "
            "sklearn.calibration.CalibratedClassifierCV makes one of others.",
        )


def predict_probabilities(estimator: Any, X: Any) -> Floats:
    """Undefended probabilities of a classifier.

    Returns:
        float32 or float64 [N, K].

    Raises:
        InputError: if the classifier has no probabilities of each class, or several targets.
    """
    _check_probabilistic(estimator)
    probs = estimator.predict_proba(X)
    # For several targets scikit-learn gives a list, perhaps of different numbers of classes.
    several = isinstance(probs, list) and np.ndim(probs[0] if probs else 0) > 1
    array: Floats = np.asarray(probs[0] if several else probs)
    classes = len(getattr(estimator, "classes_", array.T))
    if several or array.ndim != 2 or array.shape[1] != classes:
        shape = f"{len(probs)} arrays" if several else f"shape {array.shape}"
        raise InputError(
            f"{type(estimator).__name__} predicts {shape} for {classes} classes.",
            "Pass a classifier of one target, with probabilities [N, K]: [1 - p, p] for the "
            "probability p of a sigmoid.",
        )
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float64)


def predict_outputs(
    estimator: Any, X: Any, *, keep_label: bool
) -> tuple[Floats, npt.NDArray[np.int64] | None]:
    """Undefended probabilities of a classifier, and its labels.

    Args:
        estimator: a fitted classifier.
        X: inputs of N records.
        keep_label: True for the labels as well.

    Returns:
        Probabilities [N, K]; positions in ``classes_`` of what ``predict`` gives, [N], or None.

    Raises:
        InputError: if the classifier has several targets, or predicts what is not in ``classes_``.

    >>> from sklearn.dummy import DummyClassifier
    >>> model = DummyClassifier(strategy="prior").fit([[0]] * 3, ["a", "b", "b"])
    >>> predict_outputs(model, [[0]], keep_label=True)[1]
    array([1])
    """
    probs = predict_probabilities(estimator, X)
    if not keep_label or not hasattr(estimator, "predict"):
        return probs, None
    return probs, predicted_positions(estimator, X)


def predicted_positions(estimator: Any, X: Any) -> npt.NDArray[np.int64]:
    """Positions in ``classes_`` of a classifier's predictions.

    Args:
        estimator: a fitted classifier.
        X: inputs of N records.

    Returns:
        [N].

    Raises:
        InputError: if it predicts what is not in ``classes_``.
    """
    predicted = np.ravel(estimator.predict(X))
    values, places = np.unique(predicted, return_inverse=True)
    matches = values[:, None] == np.asarray(estimator.classes_)
    listed = np.asarray(matches, dtype=bool).any(axis=1)
    if not listed.all():
        label = values[~listed].tolist()[0]
        raise InputError(
            f"{type(estimator).__name__} predicts {label!r}, which is not among its classes.",
            "Its label cannot be kept: pass a defense without keep_label.",
        )
    return np.asarray(matches.argmax(axis=1)[places])


def measure_width(logits: Float64, otherwise: float) -> float:
    """Cell width from logits: 2.5 times the median gap of the two largest, to 3 digits.

    Args:
        logits: [N, K].
        otherwise: the width where there are no logits, one class, or mostly ties.

    >>> measure_width(np.array([[1.234, 0.0], [0.0, 9.0], [-1.0, 0.0]]), 8.0)
    3.08
    """
    if logits.shape[1] < 2 or not len(logits):
        return otherwise
    width = starting_width(logits)
    return width if width > 0 else otherwise


def _saturated(probs: Floats) -> int:
    return int((probs.max(axis=-1) > SATURATED).sum())


def _warn_saturated(saturated: int, count: int, stacklevel: int) -> None:
    """Warn if noise does not reach too many predictions."""
    if count >= ENOUGH and saturated > MOST_SATURATED * count:
        warnings.warn(
            f"{saturated / count:.0%} of {count:,} defended predictions have a probability above "
            f"{SATURATED}: the classifier's own are 0 and 1, or so close that their logits are "
            "farther apart than any noise, and such predictions show what they showed without a "
            "defense. Calibrate the classifier first, with "
            "sklearn.calibration.CalibratedClassifierCV, or use CalibratedLabel.",
            stacklevel=stacklevel,
        )


def _fit_defense(
    defense: Defense,
    logits: Callable[[Any], Float64],
    classes: npt.NDArray[Any],
    train: Data,
    held_out: Data | None,
) -> Defense:
    """Fit the defense to the classifier's outputs where there are held-out records."""
    if len(classes) < 2:
        return defense
    if held_out is not None:
        members = _outputs(logits, classes, train, 0, member=1)
        others = _outputs(logits, classes, held_out, len(members.labels), member=0)
        defense = defense.fit(View(members, others))
    try:
        defense(np.zeros((1, len(classes))), response.system_noise())
    except NotFittedError as error:
        raise InputError(
            error.problem,
            "Give it held-out records, fit(X, y, reference=(X_held_out, y_held_out)) or "
            "DefendedClassifier(..., holdout=0.2); or pass one that is fitted already.",
        ) from None
    return defense


def _outputs(
    logits: Callable[[Any], Float64],
    classes: npt.NDArray[Any],
    data: Data,
    first_id: int,
    *,
    member: int,
) -> Outputs:
    labels = np.asarray(data.labels).ravel()
    trained = np.isin(labels, classes)
    if not trained.all():
        raise InputError(
            f"A held-out record is of class {labels[~trained].tolist()[0]!r}.",
            f"The classifier knows {len(classes)} classes: leave others out.",
        )
    return Outputs(
        logits(data.inputs)[None, :, None],
        np.searchsorted(classes, labels),
        np.arange(len(labels)) + first_id,
        np.full((1, len(labels)), member),
    )
