"""Attack classifiers: models trained on shadow outputs to tell members from non-members."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple, final

import numpy as np

from dynanoise.attacks import statistics
from dynanoise.attacks.base import Attack, HeldOut
from dynanoise.attacks.features import comparison_features, output_features
from dynanoise.attacks.pseudo_targets import balance_shadows_by_id, leave_one_out
from dynanoise.core.errors import InputError, TooFewRecordsError
from dynanoise.core.membership import Slots
from dynanoise.core.numerics import Bools, Float64, Int64
from dynanoise.core.observation import Observation, ShadowObservations
from dynanoise.core.seeding import derive

SIGNALS = (
    "confidence",
    "correctness",
    "entropy",
    "hinge",
    "loss",
    "modified_entropy",
    "scaled_logit",
)
"""Statistics that `MultiShadow` learns from."""

_DENSE = 32
"""Classes up to which a dense design is the faster one."""

_APART = 5
"""Shadow models from which on `MultiShadow` holds records out; few are quickly fitted again."""


@contextmanager
def _settings() -> Iterator[None]:
    """One thread, and no search for infinite numbers, of which features have none.

    Threads that wait for each other on a busy machine take a hundred times as long as one.
    """
    import sklearn

    with _thread_pools().limit(limits=1), sklearn.config_context(assume_finite=True):
        yield


@functools.cache
def _thread_pools() -> Any:
    """The thread pools of loaded libraries, found once: the search takes milliseconds."""
    import sklearn.ensemble  # noqa: F401  # loads its pool
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@final
@dataclass(frozen=True)
class Shadow(Attack):
    """Logistic regression on five features of the first shadow model (arXiv:2505.13362v2).

    Unstandardised features, L2 penalty of 1, lbfgs: scikit-learn's defaults, as published. Needs
    one shadow model, whatever records it was queried with, one query a record and the true labels;
    no knowledge of the defense in the paper. Score: the log-odds of membership; larger = more
    likely a member, member if above 0.

    >>> from dynanoise.evaluation.responses import observe_logits, observe_shadow_logits
    >>> shadows = observe_shadow_logits(np.log([[[0.9, 0.1], [0.6, 0.4]]]), [0, 0], [[1, 0]])
    >>> fitted = Shadow().fit(shadows)
    >>> scores = fitted.score(observe_logits(np.log([[0.95, 0.05], [0.05, 0.95]]), labels=[0, 0]))
    >>> scores.round(1).tolist(), fitted.decide(scores).tolist()
    ([0.2, -1.5], [True, False])
    """

    title: ClassVar[str] = "Shadow"

    def learn(self, shadows: ShadowObservations) -> Any:
        """Fit the classifier."""
        from sklearn.linear_model import LogisticRegression

        log_probs, labels, members = shadows.rows(models=1)
        return LogisticRegression(max_iter=1000).fit(output_features(log_probs, labels), members)

    def formula(self, learned: Any, target: Observation) -> Float64:
        """Compute ln(P(member) / P(non-member)), [N]."""
        log_odds: Float64 = learned.decision_function(
            output_features(target.log_probs[:, 0], target.labels)
        )
        return log_odds


class _Regression(NamedTuple):
    classifier: Any
    mean: Float64  # [7]
    sd: Float64  # [7]
    classes: int

    def design(self, values: Float64, labels: Int64) -> Any:
        """Standardised statistics and the class as one-hot, [R, 7 + K], sparse in the classes."""
        standardised = (values - self.mean) / self.sd
        if self.classes <= _DENSE:
            one_hot = labels[:, None] == np.arange(self.classes)
            return np.concatenate([standardised, one_hot], axis=1)
        from scipy.sparse import csr_array, hstack

        rows = np.arange(len(labels) + 1)
        one_hot = csr_array((np.ones(len(labels)), labels, rows), shape=(len(labels), self.classes))
        return hstack([csr_array(standardised), one_hot], format="csr")

    def score(self, values: Float64, labels: Int64) -> Float64:
        """The log-odds [R]."""
        weights, intercept = self.classifier.coef_[0], self.classifier.intercept_[0]
        of_values, of_classes = np.split(weights, [len(self.mean)])
        standardised = (values - self.mean) / self.sd
        return np.asarray(standardised @ of_values + of_classes[labels] + intercept)


class _Regressions(NamedTuple):
    """Regressions whose log-odds are averaged: one, or two that each learned from half."""

    parts: tuple[_Regression, ...]
    held_out: HeldOut | None


@final
@dataclass(frozen=True)
class MultiShadow(Attack):
    """Logistic regression on seven standardised statistics and the true class.

    Shokri et al. 2017, with all shadow models pooled. Learns from all pairs of shadow model and
    record that are not hidden, of which at most ``rows``, drawn at random; L2 penalty of 1. The
    class enters as one-hot: on pools of 600 digits and 10,000 images interactions with the
    statistics, or one classifier a class, changed the AUC by less than 0.01 either way. Statistics
    are averaged over a record's inputs. With five or more shadow models two classifiers learn, each
    from one half of the records; their log-odds are averaged, and each scores the other half, see
    `Attack.held_out`.

    Needs shadow models, whatever records they were queried with, and the true labels. Score: the
    log-odds of membership; larger = more likely a member, member if above 0.

    Args:
        rows: pairs to learn from, at most.
        seed: seed of their choice.

    Raises:
        InputError: if ``rows`` is below 2, or the pairs drawn are all members or all non-members.

    >>> from dynanoise.evaluation.responses import observe_logits, observe_shadow_logits
    >>> probs = [[[0.9, 0.1], [0.6, 0.4]], [[0.5, 0.5], [0.8, 0.2]]]
    >>> shadows = observe_shadow_logits(np.log(probs), labels=[0, 0], use=[[1, 0], [0, 1]])
    >>> fitted = MultiShadow().fit(shadows)
    >>> scores = fitted.score(observe_logits(np.log([[0.95, 0.05], [0.05, 0.95]]), labels=[0, 0]))
    >>> fitted.decide(scores).tolist()
    [True, False]
    """

    rows: int = 20_000
    seed: int = 0
    title: ClassVar[str] = "Multi-shadow"

    def __post_init__(self) -> None:
        if self.rows < 2:
            raise InputError(f"rows is {self.rows}.", "Learn from at least two pairs.")

    def learn(self, shadows: ShadowObservations) -> _Regressions:
        """Fit the standardisation and the classifiers."""
        models, records = np.nonzero(shadows.use >= 0)
        generator = np.random.default_rng(derive(self.seed, "multi_shadow"))
        drawn = np.sort(generator.permutation(len(models))[: self.rows])
        models, records = models[drawn], records[drawn]
        members = shadows.use[models, records] == 1
        if members.all() or not members.any():
            raise InputError(
                f"The {len(drawn)} pairs drawn are all members or all non-members.",
                "Use more rows.",
            )
        places = shadows.locate(models, records)
        columns = [
            statistics.average_inputs(
                statistics.take(statistics.stack_models(shadows, name), places)
            )
            for name in SIGNALS
        ]
        values = np.stack(columns, axis=1)
        labels = shadows.observations[0].labels[records]
        second = _in_second_half(shadows.ids, self.seed)[records]
        halves = ~second, second
        if len(shadows.use) < _APART or any(len(np.unique(members[part])) < 2 for part in halves):
            return _Regressions((self._fit(values, labels, members, shadows.classes),), None)
        first, other = (
            self._fit(values[part], labels[part], members[part], shadows.classes) for part in halves
        )
        scores = np.where(second, first.score(values, labels), other.score(values, labels))
        sizes = tuple(np.bincount(models, minlength=len(shadows.use)).tolist())
        held_out = HeldOut(scores, members, sizes, shadows.ids[records])
        return _Regressions((first, other), held_out)

    def _fit(self, values: Float64, labels: Int64, members: Bools, classes: int) -> _Regression:
        from sklearn.linear_model import LogisticRegression

        sd = values.std(axis=0)
        learned = _Regression(
            LogisticRegression(max_iter=1000),
            values.mean(axis=0),
            np.where(sd > 0, sd, 1.0),
            classes,
        )
        with _settings():
            learned.classifier.fit(learned.design(values, labels), members)
        return learned

    def formula(self, learned: _Regressions, target: Observation) -> Float64:
        """Compute ln(P(member) / P(non-member)), [N]."""
        columns = [statistics.average_inputs(statistics.compute(target, name)) for name in SIGNALS]
        values = np.stack(columns, axis=1)
        scores = [part.score(values, target.labels) for part in learned.parts]
        return np.asarray(np.mean(scores, axis=0))

    def held_out(self, learned: _Regressions) -> HeldOut | None:
        """Return scores by the classifier that a record was held out of, if there are two."""
        return learned.held_out


class _Combination(NamedTuple):
    """Two classifiers whose log-odds are averaged: lines for few records, trees for many.

    Rows are in Fortran order, in which trees read a feature of many rows.
    """

    lines: Any
    trees: Any

    def score(self, rows: Float64) -> Float64:
        lines: Float64 = self.lines.decision_function(np.array(rows, order="C"))
        trees: Float64 = self.trees.decision_function(rows)
        return (lines + trees) / 2


class _Examples(NamedTuple):
    """Records of one pseudo-target that are learned from.

    Attributes:
        target: position of the pseudo-target among the shadow models.
        slots: the records, and their in- and out-models among the shadow models.
        members: bool [E], membership in the pseudo-target.
        second: bool [E], True for records in the second half.
    """

    target: int
    slots: Slots
    members: Bools
    second: Bools


class _LearnedCombination(NamedTuple):
    halves: tuple[_Combination, ...]
    shadows: ShadowObservations
    draws: tuple[Slots, ...]
    held_out: HeldOut


@final
@dataclass(frozen=True)
class Learned(Attack):
    """Boosted trees and a logistic regression on the target's outputs beside the shadow models'.

    Trained on pseudo-targets: shadow models whose membership the attacker knows, each compared with
    the other shadow models (see `features.comparison_features`). A pseudo-target takes one in- or
    out-model away from every record, so these features come from k - 1 models of either kind. With
    k the target's means would be less noisy than those the classifier knows; so the target is
    compared with k - 1 of each as well, and its score is the mean over ``draws`` random choices
    of them, through which every model has a say.

    Histogram gradient boosting (Ke et al. 2017, as in scikit-learn) and logistic regression on
    standardised features, both on equal numbers of members and non-members. On a pool of 600 digits
    the lines are ahead of the trees by 0.006 of AUC, on one of 10,000 images the two are within
    0.002, and their mean is about the better of them on both.

    Needs shadow models queried with the target's records, k >= 2 in- and out-models for each, with
    their undefended outputs, and the true labels. Score: the mean of the two log-odds; larger =
    more likely a member, member if above 0. Records without shadow models score 0.

    Two classifiers learn, each from one half of the records on all pseudo-targets, and the target's
    score is the mean of both. Each scores the other half, see `Attack.held_out`. Were only the
    models apart, that estimate would lean to the low side: among the 2k models of a record, those
    that are left after taking out a member hold more non-members, and the reverse.

    Args:
        rows: pairs of pseudo-target and record to learn from, at most.
        draws: choices of k - 1 models of either kind for the target, >= 1.
        seed: seed of every choice.

    Raises:
        InputError: for ``rows`` or ``draws`` below 1; for shadow models without the same number of
            in- and out-models for every record, or with only one of either.
        TooFewRecordsError: if no pseudo-target has both members and non-members in either half.

    >>> from dynanoise.evaluation.responses import observe_logits, observe_shadow_logits
    >>> generator = np.random.default_rng(0)
    >>> use = np.stack([generator.permutation([0, 0, 0, 1, 1, 1]) for _ in range(200)], axis=1)
    >>> rows = generator.normal(0, 1, (6, 200, 2)) + np.stack([3 * use, 0 * use], axis=2)
    >>> fitted = Learned().fit(observe_shadow_logits(rows, np.zeros(200, int), use))
    >>> target = observe_logits(np.tile([[3.0, 0.0], [0.0, 0.0]], (100, 1)), np.zeros(200, int))
    >>> fitted.decide(fitted.score(target))[:4].tolist()
    [True, False, True, False]
    """

    rows: int = 10_000
    draws: int = 2
    seed: int = 0
    title: ClassVar[str] = "Learned"
    aligned: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.rows < 1 or self.draws < 1:
            raise InputError(
                f"rows is {self.rows} and draws {self.draws}.", "Use 1 or more of both."
            )

    def learn(self, shadows: ShadowObservations) -> _LearnedCombination:
        """Fit the classifiers, draw the target's shadow models, and score the held-out ones."""
        if self not in shadows.drawn:
            shadows.drawn[self] = self._draw(shadows)
        examples, draws = shadows.drawn[self]
        members = np.concatenate([case.members for case in examples])
        second = np.concatenate([case.second for case in examples])
        if any(len(np.unique(members[part])) < 2 for part in (second, ~second)):
            raise TooFewRecordsError(
                f"None of {len(examples)} pseudo-targets has both members and non-members.",
                "Use more records or more models.",
            )
        pairs = [(shadows.observations[case.target], case.slots) for case in examples]
        rows = comparison_features(pairs, shadows)
        first, other = (rows.T.compress(part, axis=1).T for part in (~second, second))
        scores = np.empty(len(rows))
        with _settings():
            halves = (
                _fit_combination(first, members[~second], self.seed),
                _fit_combination(other, members[second], self.seed),
            )
            # Each classifier scores the records that the other has learned from.
            scores[second], scores[~second] = halves[0].score(other), halves[1].score(first)
        sizes = tuple(len(case.members) for case in examples)
        ids = shadows.ids[np.concatenate([case.slots.rows for case in examples])]
        held_out = HeldOut(scores, members, sizes, ids)
        return _LearnedCombination(halves, shadows, draws, held_out)

    def formula(self, learned: _LearnedCombination, target: Observation) -> Float64:
        """Average the log-odds over the draws, [N]."""
        scores = []
        for slots in learned.draws:
            rows = comparison_features([(target, slots)], learned.shadows)
            with _settings():
                log_odds = np.mean([half.score(rows) for half in learned.halves], axis=0)
            scores.append(slots.spread(log_odds, len(target.labels)))
        return np.asarray(np.mean(scores, axis=0))

    def held_out(self, learned: _LearnedCombination) -> HeldOut:
        """Return the scores of the records that a classifier did not learn from."""
        return learned.held_out

    def _draw(self, shadows: ShadowObservations) -> tuple[tuple[_Examples, ...], tuple[Slots, ...]]:
        """Draw what to learn from, and the target's shadow models, by membership alone.

        Up to ``rows`` examples, as many members as non-members of each pseudo-target, from two
        random halves of the records, which are the same for all pseudo-targets.
        """
        models, ids = len(shadows.use), shadows.ids
        share = max(1, -(-self.rows // models))
        halves = _in_second_half(ids, self.seed)
        # Members and non-members are about as many: twice the records have enough of both.
        seed = derive(self.seed, "learned")
        examples = []
        for number, role in enumerate(leave_one_out(shadows.use, ids, models, seed, 2 * share)):
            case = role.pseudo_target(shadows)
            slots = _slots_by_id(case.shadows)
            scored, inside = case.scored[slots.rows], case.members[slots.rows]
            generator = np.random.default_rng(derive(self.seed, "learned rows", number))
            half = halves[slots.rows]
            chosen = []
            for part in (~half, half):
                sides = [np.flatnonzero(scored & part & (inside == side)) for side in (True, False)]
                # Equal numbers instead of class weights, with which scikit-learn bins twenty times
                # as slowly.
                size = min(*map(len, sides), -(-share // 4))
                chosen += [generator.permutation(side)[:size] for side in sides]
            drawn = np.sort(np.concatenate(chosen))
            slots = _select_slots(slots, drawn).among(role.others)
            examples.append(_Examples(role.target, slots, inside[drawn], half[drawn]))
        draws = []
        for draw in range(self.draws):
            seed = derive(self.seed, "learned draw", draw)
            use = balance_shadows_by_id(shadows.use, ids, shadows.slots.k - 1, seed)
            draws.append(_slots_by_id(replace(shadows, use=use)))
        return tuple(examples), tuple(draws)


def _in_second_half(ids: Int64, seed: int) -> Bools:
    """True for records in the second of two random halves, whatever their order, [N]."""
    generator = np.random.default_rng(derive(seed, "learned halves"))
    second = np.zeros(len(ids), dtype=bool)
    second[np.argsort(ids)[generator.permutation(len(ids))[::2]]] = True
    return second


def _slots_by_id(shadows: ShadowObservations) -> Slots:
    """The slots, by the records' ids: then the order of the records changes not even a rounding."""
    return _select_slots(shadows.slots, np.argsort(shadows.ids[shadows.slots.rows]))


def _select_slots(slots: Slots, chosen: Int64) -> Slots:
    # Unlike an index, `take` keeps the rows of memory that are summed over models several times as
    # fast.
    inside, outside = (side.take(chosen, axis=1) for side in (slots.inside, slots.outside))
    return Slots(slots.rows[chosen], inside, outside)


def _fit_combination(rows: Float64, members: Bools, seed: int) -> _Combination:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    lines = make_pipeline(
        StandardScaler(copy=False),
        LogisticRegression(C=0.1, max_iter=1000),
    )
    trees = HistGradientBoostingClassifier(
        learning_rate=0.2,
        max_iter=20,
        max_leaf_nodes=6,
        max_bins=31,
        min_samples_leaf=40,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=derive(seed, "learned trees") % 2**32,
    )
    return _Combination(lines.fit(np.array(rows, order="C"), members), trees.fit(rows, members))


ATTACKS = {"shadow": Shadow, "multi_shadow": MultiShadow, "learned": Learned}
