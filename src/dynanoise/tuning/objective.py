"""The value of a setting: success of quick attacks and utility, on the same models and records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize_scalar

from dynanoise.core import numerics
from dynanoise.core.defense import Defense, Method
from dynanoise.core.errors import DynaNoiseError, TooFewRecordsError
from dynanoise.core.numerics import Int64
from dynanoise.core.outputs import Outputs, Pool
from dynanoise.core.seeding import derive
from dynanoise.defenses.calibrated_label import CalibratedLabel
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.defenses.temperature import Temperature, undefended
from dynanoise.evaluation.chosen_inputs import ModelFunctions
from dynanoise.evaluation.design import ModelNoise
from dynanoise.evaluation.engine import measure_utility
from dynanoise.evaluation.feasibility import find_feasible
from dynanoise.evaluation.protocols import ADAPTIVE, BOUNDARY, chosen
from dynanoise.evaluation.responses import make_noise
from dynanoise.evaluation.shadow_pool import ShadowPool
from dynanoise.evaluation.trial import attack_trials
from dynanoise.metrics.midput import worst_case_gain

RECORDS, TESTS, OUTSIDERS = 2_500, 2_500, 500
"""Records that the search attacks, measures utility on, and knows as non-members, at most each."""

PROBED = 500
"""Records of these that the search queries with chosen inputs, at most."""

QUICK = ("lira", "rmia", "label_only", "gap", "population")
"""Attacks that are close to the strongest and take a tenth of a second."""


@dataclass(frozen=True)
class Utility:
    """Utility of predictions, means over the models.

    Attributes:
        accuracy: 0..1.
        nll: negative log-likelihood, nats.
        ece: expected calibration error, 0..1.
    """

    accuracy: float
    nll: float
    ece: float


@dataclass(frozen=True)
class Setting:
    """A setting of the defense with the values that the search found.

    Attributes:
        method: defense and noise.
        gain: worst-case MIDPUT at the query budget.
        drop: loss of accuracy.
        utility: utility of its predictions.
    """

    method: Method
    gain: float
    drop: float
    utility: Utility


def scale_temperature(outputs: Outputs) -> Temperature:
    """Fit temperature scaling: the temperature of the least negative log-likelihood.

    Guo, Pleiss, Sun & Weinberger 2017, section 4.2; one temperature for all models.

    Args:
        outputs: predictions on records that no model was trained on.

    Returns:
        The defense, its temperature between 0.01 and 100 and with 3 significant digits.

    >>> logits = 4 * np.log([[[[0.8, 0.2]]] * 5])
    >>> unused = np.zeros((1, 5), dtype=np.int8)
    >>> scale_temperature(Outputs(logits, np.array([0, 0, 0, 0, 1]), np.arange(5), unused))
    Temperature(temperature=4.0)
    """
    logits = outputs.logits[:, :, 0].astype(np.float64)

    def loss(log_temperature: float) -> float:
        log_probs = numerics.log_softmax(logits / np.exp(log_temperature))
        return -float(np.mean([numerics.take_label(rows, outputs.labels) for rows in log_probs]))

    best = minimize_scalar(loss, bounds=np.log([0.01, 100.0]), method="bounded")
    return Temperature(float(f"{np.exp(best.x):.3g}"))


def _split(count: int, most: int, seed: int, purpose: str) -> tuple[Int64, Int64]:
    """Positions for the search, and the others: of few half, of many the search needs only some."""
    order = np.random.default_rng(derive(seed, purpose)).permutation(count)
    drawn = np.sort(order[: min(most, count // 2)])
    return drawn, np.setdiff1d(order, drawn)


class Objective:
    """Worst-case MIDPUT of settings against an attacker with a query budget, and their utility.

    All settings are evaluated on the same records, drawn from the pool's, and with the same noise
    up to scale, so that they do not differ by chance. `rest` are the positions of the other
    records, and `rest_of_test` those of the other test data, on which the best settings are
    evaluated anew.

    For `Fresh` noise the mean of Q predictions is one prediction with a Qth of the variance:
    exactly so for one sample whose entries are not exchanged (the attacker undoes the temperature,
    and the mean of Q normals is a normal), else nearly. Predictions under a key repeat themselves.

    Args:
        pool: several models with test data; predictions about near-duplicates are not used.
        queries: Q >= 1.
        seed: seed of the draw.
        attacks: specifications of the attacks of the search; `QUICK` if empty.
        functions: the models, for an attacker who also chooses inputs, with Q queries a record:
            success is then at least that of `boundary_distance`, which no defense that keeps labels
            changes. None for an attacker who repeats queries only.

    Raises:
        TooFewRecordsError: if the pool is too small for any attack.
    """

    def __init__(
        self,
        pool: Pool,
        queries: int,
        seed: int,
        attacks: Sequence[str] = (),
        functions: ModelFunctions | None = None,
    ) -> None:
        originals = pool.originals()
        drawn, self.rest = _split(len(pool.records.labels), RECORDS, seed, "records of the search")
        tests, self.rest_of_test = _split(len(pool.test.labels), TESTS, seed, "test of the search")
        self.pool = replace(
            originals,
            records=originals.records.select(records=drawn),
            test=originals.test.select(records=tests),
            reference=originals.reference.select(records=slice(OUTSIDERS)),
        )
        self.queries, self.seed = queries, seed
        # The same for every setting; a design keeps the models' roles, too.
        self._design = ShadowPool(self.pool)
        self._probed: ShadowPool | None = None
        self._by_labels: float | None = None
        if functions is not None:
            records = self.pool.records.select(records=slice(PROBED))
            probed = replace(self.pool, records=records)
            self._probed = ShadowPool(probed, chosen=functions.prepare(records))
        self._views = list(self._design.views(ADAPTIVE.threat))
        self._test = [test for test, _ in self._design.utility()]
        possible = find_feasible(self.pool, attacks).attacks
        self.attacks = tuple(name for name in possible if attacks or name in QUICK)
        if not self.attacks:
            raise TooFewRecordsError(
                f"These models are not enough for {' or '.join(attacks or QUICK)}.",
                "Give more models or records, or name other attacks.",
            )
        plain, label = Method("none", undefended()), Method("label", CalibratedLabel())
        self.success, self.plain = self._success(plain), self._utility(plain)
        self.floor = self(label)
        self.scaled = self(Method("temperature", scale_temperature(self.pool.reference)))

    @property
    def gap(self) -> float:
        """Median gap between the two largest logits of held-out predictions, in logits."""
        return float(np.median(numerics.top_gaps(self.pool.reference.logits[:, :, 0])))

    def __call__(self, method: Method) -> Setting:
        """Evaluate one setting; the values are the same in any process."""
        utility = self._utility(method)
        drop = self.plain.accuracy - utility.accuracy
        before, after = (
            np.array([self.success]),
            np.array([self._success(method, self._averaged(method))]),
        )
        gain = worst_case_gain(before, after, np.float64(drop))
        return Setting(method, float(gain), drop, utility)

    def evaluate_all(self, methods: Sequence[Method]) -> list[Setting]:
        """Evaluate several settings.

        Args:
            methods: the settings.

        Returns:
            One value for each, in their order.
        """
        return [self(method) for method in methods]

    def _averaged(self, method: Method) -> Method:
        """The method with the noise that is left in a mean over the query budget."""
        defense = method.defense
        if method.cell_width is not None or not isinstance(defense, DynaNoise):
            return method
        less = replace(defense, base_variance=defense.base_variance / self.queries)
        return replace(method, defense=less)

    def _fit(self, method: Method) -> list[Defense]:
        return [method.defense.fit(view) for view in self._views]

    def _noise(self, method: Method) -> ModelNoise:
        # The same name for all settings: common random numbers.
        return lambda model, role: make_noise(method, self.seed, "search", role, model)

    def _success(self, method: Method, averaged: Method | None = None) -> float:
        """Mean balanced accuracy of the attacker's choice among the quick attacks.

        With chosen inputs that of labels alone, if it is greater.
        """
        direct = averaged or method
        noise, errors = self._noise(direct), list[DynaNoiseError]()
        trials = list(self._design.trials(self._fit(direct), ADAPTIVE.threat, noise))
        scores = list(attack_trials(trials, self.attacks, lambda name, why: errors.append(why)))
        if not scores:
            raise errors[0]
        success = scores[-1].scores.balanced_accuracy  # "strongest" comes last
        return max(success, self._success_by_labels(method))

    def _success_by_labels(self, method: Method) -> float:
        """Mean balanced accuracy of `boundary_distance`; 0 without chosen inputs."""
        if self._probed is None:
            return 0.0
        if self._by_labels is not None and method.defense.keeps_labels:
            return self._by_labels
        threat = chosen(self.queries).threat
        trials = list(self._probed.trials(self._fit(method), threat, self._noise(method)))
        success = next(attack_trials(trials, BOUNDARY)).scores.balanced_accuracy
        if method.defense.keeps_labels:
            self._by_labels = success
        return success

    def _utility(self, method: Method) -> Utility:
        values = []
        noise = self._noise(method)
        for model, (defense, test) in enumerate(zip(self._fit(method), self._test, strict=True)):
            metrics, _ = measure_utility(defense, test, noise(model, "test")(""))
            values.append([metrics[name].value for name in ("accuracy", "nll", "ece")])
        return Utility(*map(float, np.mean(values, axis=0)))
