"""What a setting is worth: a quick judgement of many settings on the same models and records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dynanoise.core import numerics
from dynanoise.core.defense import Defense, Method
from dynanoise.core.errors import DynaNoiseError, TooFewRecordsError
from dynanoise.core.outputs import Pool
from dynanoise.core.seeding import derive
from dynanoise.defenses.calibrated_label import CalibratedLabel
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.defenses.temperature import undefended
from dynanoise.evaluation.feasibility import feasible
from dynanoise.evaluation.leave_one_out import NoiseOf, answered, attack_pool, roles
from dynanoise.evaluation.noise_streams import noise_of
from dynanoise.evaluation.protocols import ADAPTIVE
from dynanoise.metrics.utility import utility_metrics

RECORDS, TESTS, OUTSIDERS = 2_500, 2_500, 500
"""Records that the search attacks, asks for utility, and knows as non-members, at most each."""

QUICK = ("lira", "rmia", "label_only", "gap", "population")
"""Attacks that are close to the strongest and take a tenth of a second."""


@dataclass(frozen=True)
class Utility:
    """What answers cost, means over the models.

    Attributes:
        accuracy: 0..1.
        nll: negative log-likelihood, nats.
        ece: expected calibration error, 0..1.
    """

    accuracy: float
    nll: float
    ece: float


@dataclass(frozen=True)
class Judged:
    """A setting as the search sees it.

    Attributes:
        method: the setting.
        gain: worst-case MIDPUT at the query budget.
        drop: of accuracy.
        utility: of its answers.
    """

    method: Method
    gain: float
    drop: float
    utility: Utility


class Objective:
    """Worst-case MIDPUT of settings against an attacker with a query budget, and their utility.

    All settings are judged on the same records, drawn from the pool's, and with the same noise up
    to scale, so that their differences are not those of luck. `rest` are the positions of the other
    records, for judging the best settings anew.

    For `Fresh` noise Q averaged answers are one answer with a Qth of the variance: exactly so for
    one sample whose entries are not exchanged (the attacker undoes the temperature, and the mean of
    Q normals is a normal), else nearly. Answers under a key are the same however often one asks.

    Args:
        pool: several models; answers about near-duplicates are not used.
        queries: Q >= 1.
        seed: of the draw.
        attacks: specifications of the attacks to judge by; `QUICK` if empty.

    Raises:
        TooFewRecordsError: if the pool is too small for any attack, or has no test data.
    """

    def __init__(self, pool: Pool, queries: int, seed: int, attacks: Sequence[str] = ()) -> None:
        if not len(pool.test.labels) or not len(pool.reference.labels):
            raise TooFewRecordsError(
                "There are no answers about test data to measure accuracy and likelihood on.",
                "Give test_logits or test_probs with test_labels, of records that no model was "
                "trained on.",
            )
        generator = np.random.default_rng(derive(seed, "records of the search"))
        order = generator.permutation(len(pool.examples.labels))
        # With few records a half is judged anew; with many the search needs no more than some.
        chosen = np.sort(order[: min(RECORDS, len(order) // 2)])
        own = pool.originals()
        self.rest = np.setdiff1d(order, chosen)
        self.pool = replace(
            own,
            examples=own.examples.select(examples=chosen),
            test=own.test.select(examples=slice(TESTS)),
            reference=own.reference.select(examples=slice(OUTSIDERS)),
        )
        self.queries, self.seed = queries, seed
        # What every setting would otherwise make anew: it depends on membership alone.
        self._roles = roles(self.pool, self.pool.seed)
        self._views = [self.pool.view(model) for model in range(pool.models)]
        feasible_attacks = feasible(self.pool, attacks).attacks
        self.attacks = tuple(name for name in feasible_attacks if attacks or name in QUICK)
        if not self.attacks:
            raise TooFewRecordsError(
                f"These models are not enough for {' or '.join(attacks or QUICK)}.",
                "Give more models or records, or name other attacks.",
            )
        plain, label = Method("none", undefended()), Method("label", CalibratedLabel())
        self.success, self.plain = self._success(plain), self._utility(plain)
        self.floor = self(label)

    @property
    def gap(self) -> float:
        """The median gap between the largest two logits of held-out answers, in logits."""
        return float(np.median(numerics.top_gaps(self.pool.reference.logits[:, :, 0])))

    def __call__(self, method: Method) -> Judged:
        """Judges one setting; the same setting gets the same judgement in any process."""
        utility = self._utility(method)
        drop = self.plain.accuracy - utility.accuracy
        gain = self.success - self._success(self._averaged(method)) - drop
        return Judged(method, gain, drop, utility)

    def several(self, methods: Sequence[Method]) -> list[Judged]:
        """`__call__` for each."""
        return [self(one) for one in methods]

    def _averaged(self, method: Method) -> Method:
        defense = method.defense
        if method.cell_width is not None or not isinstance(defense, DynaNoise):
            return method
        less = replace(defense, base_variance=defense.base_variance / self.queries)
        return replace(method, defense=less)

    def _fitted(self, method: Method) -> list[Defense]:
        return [method.defense.fit(view) for view in self._views]

    def _noise(self, method: Method) -> NoiseOf:
        # The same name for all settings: common random numbers.
        return lambda model, role: noise_of(method, self.seed, "search", role, model)

    def _success(self, method: Method) -> float:
        """Mean balanced accuracy of the attacker's own choice among the quick attacks."""
        said = answered(self.pool, self._fitted(method), ADAPTIVE.threat, self._noise(method))
        refused: list[DynaNoiseError] = []
        found = list(
            attack_pool(said, self.attacks, lambda name, error: refused.append(error), self._roles)
        )
        if not found:
            raise refused[0]
        return found[-1].found.balanced_accuracy  # "strongest" comes last

    def _utility(self, method: Method) -> Utility:
        found = []
        test, noise = self.pool.test, self._noise(method)
        for model, defense in enumerate(self._fitted(method)):
            logits = test.logits[model, :, 0].astype(np.float64)
            said = utility_metrics(defense(logits, noise(model, "test")("")), logits, test.labels)
            found.append([said[name].value for name in ("accuracy", "nll", "ece")])
        return Utility(*map(float, np.mean(found, axis=0)))
