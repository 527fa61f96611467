"""A scikit-learn classifier whose answers are defended."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from sklearn import get_config
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.exceptions import NotFittedError as SklearnNotFittedError
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.validation import check_is_fitted, column_or_1d

from dynanoise.config.configuration import FRESH, Configuration
from dynanoise.core import numerics
from dynanoise.core.defense import Defense
from dynanoise.core.numerics import Float64, Floats
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.defenses.response import answer_probabilities, system_noise
from dynanoise.integrations.contents import digest_of
from dynanoise.integrations.held_out import fitted_defense, measured_width, set_aside
from dynanoise.integrations.told import KEYED, checked, looks_secret, probabilities
from dynanoise.noise.experiment import ExperimentKey
from dynanoise.noise.keyed import Keyed
from dynanoise.noise.secrets import DEFAULT, RootKey, Secret

CELL_WIDTH = 8.0
"""Of a classifier that was fitted elsewhere: 2.5 times the top gap of an answer 96% sure of two."""


class _Deployed(NamedTuple):
    """What answers."""

    estimator: Any
    defense: Defense
    noise: str | Keyed


class DefendedClassifier(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):  # type: ignore[misc]
    """Any classifier with ``predict_proba``, its answers behind a defense.

    The logits are ln max(p, tiny) of the classifier's probabilities p, of two classes as of many:
    what ``decision_function`` gives is log-odds for some classifiers only. ``predict`` is the
    label of the defended answer, so the two never contradict each other.

    Threat model: that of the defense and the noise, see `DynaNoise` and `Keyed`: an attacker who
    asks for answers. Who has this object has the classifier inside it. A classifier that answers
    0 and 1, such as a fully grown tree, has logits 708 apart, which no usual noise reaches;
    calibrate it first, or answer with `CalibratedLabel`.

    Args:
        estimator: a classifier. `fit` fits a clone of it; one that is fitted already answers
            without `fit`, as it was at the first answer: wrap it anew when it is fitted anew. With
            `fit`, a ``FrozenEstimator`` stays as it is.
        defense: None for ``DynaNoise(keep_label=True)``.
        noise: "keyed", the same answer every time, or "fresh", new noise seeded by the operating
            system for every answer, which who repeats a query averages away.
        key: of keyed noise, a reference "env:NAME" or "file:PATH" that is looked up when an answer
            is made; or an `ExperimentKey`, which is no secret. Never the secret itself.
        cell_width: of keyed noise, in logits. None for 2.5 times the median top gap on held-out
            records if `fit` has some, else on the training records, which is wider; to 3 digits.
            Without `fit` 8.
        model: of keyed noise, the model's name. None for the class of the classifier.
        weights: of keyed noise, 64 hexadecimal digits that no other version of the model has. None
            for `digest_of` the fitted classifier, found by `fit` and kept, so that replicas that
            load it agree; without `fit` found at the first answer.
        holdout: the share of the records of each class, evenly over their order, that `fit` keeps
            from the classifier for a defense that learns from held-out records, such as
            `CalibratedLabel`, and for the cell width. None for none.

    Attributes:
        estimator_: the fitted classifier.
        defense_: the defense, fitted.
        noise_: "fresh", or the `Keyed` noise with cell width, name and digest.
        classes_: class labels, [K].
        n_features_in_: as the classifier has it.
        feature_names_in_: as the classifier has them, where it does.

    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from dynanoise.noise.experiment import ExperimentKey
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LogisticRegression(max_iter=1000)
    >>> defended = DefendedClassifier(model, key=ExperimentKey(0)).fit(X, y)  # no secret
    >>> bool((defended.predict(X) == defended.estimator_.predict(X)).all())
    True
    >>> answers = defended.predict_proba(X[:2])
    >>> answers.shape, bool((answers == defended.predict_proba(X)[:2]).all())
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

    def __setattr__(self, name: str, value: Any) -> None:
        # scikit-learn has parameters checked by `fit`; a secret would be in a repr before that.
        if name == "key" and looks_secret(value):
            Secret("")  # refuses
        super().__setattr__(name, value)

    @classmethod
    def configured(cls, estimator: Any, configuration: Configuration | str | Path) -> Self:
        """With defense and noise of a `Configuration`, or of the file that holds it."""
        if not isinstance(configuration, Configuration):
            configuration = Configuration.read(configuration)
        noise = configuration.noise
        if not isinstance(noise, Keyed):
            return cls(estimator, configuration.defense, noise=noise)
        return cls(
            estimator,
            configuration.defense,
            key=noise.key,  # type: ignore[arg-type]  # a Secret, which Configuration sees to
            cell_width=noise.cell_width,
            model=noise.model,
            weights=noise.weights,
        )

    def configuration(self) -> Configuration:
        """What another deployment of the same model reads, for its probabilities.

        Raises:
            InputError: if the key is of an experiment.
        """
        deployed = self._deployed()
        return Configuration(deployed.defense, deployed.noise, input="probabilities")

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        reference: tuple[Any, Any] | None = None,
        **params: Any,
    ) -> Self:
        """Fits a clone of the classifier, and the defense if it learns from held-out records.

        Args:
            X: training inputs, as the classifier takes them.
            y: [N], their classes.
            reference: inputs and classes that the classifier is not fitted to, better hundreds.
                With them ``holdout`` is not used.
            params: for the classifier, such as ``sample_weight``; routed if metadata routing is on.

        Raises:
            InputError: if a parameter is not what it should be, or the defense must learn from
                held-out records and there are none.
        """
        defense, key = self._checked()
        if getattr(y, "ndim", 1) != 1:
            y = column_or_1d(y, warn=True)
        params = {name: value for name, value in params.items() if value is not None}
        train, reference, params = set_aside(X, y, reference, self.holdout, params)
        if get_config().get("enable_metadata_routing"):
            params = process_routing(self, "fit", **params).estimator.fit
        estimator = clone(self.estimator).fit(train.inputs, train.labels, **params)

        def ask(inputs: Any) -> Float64:
            return numerics.log_probabilities(probabilities(estimator, inputs))

        defense = fitted_defense(defense, ask, estimator.classes_, train, reference)
        noise: str | Keyed = FRESH
        if self.noise == KEYED:
            width = self.cell_width
            if width is None:
                width = measured_width(ask((reference or train).inputs), otherwise=CELL_WIDTH)
            noise = self._keyed(estimator, key, width, self.weights or digest_of(estimator))
        self.estimator_, self.defense_, self.noise_ = estimator, defense, noise
        return self

    def predict_proba(self, X: Any) -> Floats:
        """Defended probabilities [N, K] in the classifier's dtype; safe in several threads.

        Raises:
            SecretError: if the noise is keyed and there is no usable secret.
        """
        deployed = self._deployed()
        probs = probabilities(deployed.estimator, X)
        if probs.shape[1] == 1:  # of a single class all is known
            return np.ones_like(probs)
        noise = deployed.noise if isinstance(deployed.noise, Keyed) else system_noise()
        return answer_probabilities(deployed.defense, noise, probs)

    def predict_log_proba(self, X: Any) -> Floats:
        """ln of `predict_proba`, finite."""
        answers = self.predict_proba(X)
        return numerics.narrow(numerics.log_probabilities(answers), answers.dtype)

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """The label of each defended answer, [N]; without ``keep_label`` not always the model's."""
        answers = self.predict_proba(X)
        return np.asarray(self.classes_[answers.argmax(axis=1)])

    @property
    def classes_(self) -> npt.NDArray[Any]:
        """As the classifier has them."""
        return np.asarray(self._fitted().classes_)

    @property
    def n_features_in_(self) -> int:
        """As the classifier has it."""
        return int(self._fitted().n_features_in_)

    @property
    def feature_names_in_(self) -> npt.NDArray[Any]:
        """As the classifier has them."""
        return np.asarray(self._fitted().feature_names_in_)

    def __sklearn_is_fitted__(self) -> bool:
        try:
            self._fitted()
        except SklearnNotFittedError:
            return False
        return True

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import get_tags

        tags = super().__sklearn_tags__()
        if hasattr(self.estimator, "__sklearn_tags__"):
            inner = get_tags(self.estimator)
            tags.input_tags = inner.input_tags
            if inner.classifier_tags is not None:
                tags.classifier_tags = replace(inner.classifier_tags, multi_label=False)
        if not getattr(self._defense(), "keeps_labels", True):
            tags.classifier_tags.poor_score = True
        tags.non_deterministic = self.noise != KEYED
        return tags

    def get_metadata_routing(self) -> Any:
        """Where `fit` sends what it is given."""
        mapping = MethodMapping().add(caller="fit", callee="fit")
        return (
            MetadataRouter(owner=type(self).__name__)
            .add_self_request(self)
            .add(estimator=self.estimator, method_mapping=mapping)
        )

    def _defense(self) -> Any:
        return DynaNoise(keep_label=True) if self.defense is None else self.defense

    def _checked(self) -> tuple[Defense, RootKey]:
        return checked(self.estimator, self._defense(), self.noise, self.key)

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
                "This DefendedClassifier has nothing to ask. Call fit(X, y), or pass a classifier "
                "that is fitted already."
            ) from None
        return self.estimator

    def _deployed(self) -> _Deployed:
        estimator = self._fitted()
        if "estimator_" in vars(self):
            return _Deployed(estimator, self.defense_, self.noise_)
        defense, key = self._checked()
        if self.noise != KEYED:
            return _Deployed(estimator, defense, FRESH)
        weights = self.weights
        if weights is None:
            # The classifier stands beside its digest: another one may be set.
            known, weights = vars(self).get("_digested", (None, None))
            if known is not estimator or weights is None:
                weights = digest_of(estimator)
                self._digested = (estimator, weights)
        width = CELL_WIDTH if self.cell_width is None else self.cell_width
        return _Deployed(estimator, defense, self._keyed(estimator, key, width, weights))
