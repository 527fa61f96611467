"""Attacks that the models at hand are enough for, and needs of the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dynanoise.attacks.base import title_of
from dynanoise.core.outputs import Pool
from dynanoise.core.registry import ATTACKS
from dynanoise.evaluation.protocols import STRONG

LEAST_POPULATION = 20
"""Non-members that a population must have at least."""

SINGLE = ("population", "threshold", "multi_shadow", "gap", "confidence", "loss")
"""Attacks on a model without shadow models; each is tuned on records known to the attacker."""


class Feasible(NamedTuple):
    """Attacks by whether they can be run.

    Attributes:
        attacks: specifications of attacks that can be run, in the order of the protocol.
        needs: a sentence on the missing data for each of the others.
    """

    attacks: tuple[str, ...]
    needs: Mapping[str, str]


def find_feasible(pool: Pool, attacks: Sequence[str] = ()) -> Feasible:
    """Sort attacks by whether these models are enough for them.

    Args:
        pool: outputs of one or several models.
        attacks: specifications of the attacks; the installed ones of the protocol if empty.

    Returns:
        Attacks that can be run, and the needs of the others.

    Raises:
        InputError: if a specification cannot be read.
        UnknownNameError: for an unknown attack.

    >>> import numpy as np
    >>> from dynanoise.audits.inputs import check_inputs
    >>> rows = np.tile([[0.9, 0.1], [0.4, 0.6]], (40, 1))
    >>> alone = check_inputs("made up", probs=rows, labels=[0, 1] * 40, member=[1, 0] * 40).pool()
    >>> "population" in find_feasible(alone).attacks
    True
    >>> find_feasible(alone).needs["lira"].partition(":")[0]
    'LiRA needs shadow models'
    """
    alone, outsiders = pool.models == 1, len(pool.reference.labels)
    runs, needs = [], {}
    usual = [*(SINGLE if alone else ()), *STRONG]
    for name in dict.fromkeys(attacks or filter(ATTACKS.names().__contains__, usual)):
        attack = ATTACKS.build(name)
        if attack.needs_chosen_inputs:
            needs[name] = (
                f"{title_of(name)} needs a query budget for chosen inputs (chosen), and a model "
                "that answers them: outputs in arrays or files do not."
            )
            continue
        if attack.needs_inputs and pool.inputs is None:
            needs[name] = (
                f"{title_of(name)} needs inputs, and there are outputs alone: audit an estimator, "
                "or a model file with tables of records."
            )
        elif alone and attack.aligned:
            needs[name] = (
                f"{title_of(name)} needs shadow models: give the outputs of several models, each "
                "trained on its own random half of the records."
            )
        elif not alone and attack.needs_population and outsiders < LEAST_POPULATION:
            needs[name] = (
                f"{title_of(name)} needs {LEAST_POPULATION} records that no model was trained on: "
                "give test_logits or test_probs with test_labels."
            )
        else:
            runs.append(name)
    return Feasible(tuple(runs), needs)
