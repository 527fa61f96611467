"""What all results of a run share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from dynanoise.benchmark.plan import Plan
from dynanoise.core.registry import PRESETS
from dynanoise.core.result import AttackProtocol, Result
from dynanoise.evaluation import provenance
from dynanoise.evaluation.paper_split import Finding
from dynanoise.training.architecture import tokenizer_of


class Stamp:
    """Makes results of findings.

    Args:
        plan: of the run.
        dataset: what the data are called.
        models: the architecture of each recipe.
        recipes: by name.
    """

    def __init__(
        self,
        plan: Plan,
        dataset: str,
        models: Mapping[str, Any],
        recipes: Mapping[str, Any],
    ) -> None:
        self.plan, self.dataset, self.models, self.recipes = plan, dataset, models, recipes
        self.preset = plan.preset
        # What lies in a folder of the user's is called as its data are.
        self._name = plan.name if plan.name in PRESETS.names() else dataset
        # Of a pretrained transformer the parameters have name and digest, and no folder.
        self._model = "hf" if tokenizer_of(self.preset.model) else self.preset.model
        own = (package for model in models.values() for package in getattr(model, "packages", ()))
        self.versions = provenance.versions(dict.fromkeys(own))
        self.hardware = {
            **provenance.hardware(),
            "threads": self.preset.threads,
            "device": provenance.device(plan.device),
        }

    def record(
        self,
        finding: Finding,
        protocol: AttackProtocol,
        *,
        seed: int,
        split: str,
        counts: Mapping[str, int],
        training: Mapping[str, float],
    ) -> Result:
        """The Result of a finding."""
        method = finding.method
        return finding.record(
            protocol,
            dataset=self.dataset,
            model=self._model,
            model_parameters=asdict(self.models[method.recipe]),
            recipe=method.recipe,
            recipe_parameters=asdict(self.recipes[method.recipe]),
            preset=self._name,
            seed=seed,
            split=split,
            counts=counts,
            command=self.plan.command,
            versions=self.versions,
            hardware=self.hardware,
            training=training,
        )
