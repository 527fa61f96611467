"""DynaNoise: measure membership inference, and defend a trained model at answer time.

Forough & Haddadi, PoPETs 2026, arXiv:2505.13362. The public names, imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dynanoise.audits.audit_report import AuditReport as AuditReport
    from dynanoise.audits.estimator import audit as audit
    from dynanoise.audits.training_audit import audit_training as audit_training
    from dynanoise.config.configuration import Configuration as Configuration
    from dynanoise.core.errors import DynaNoiseError as DynaNoiseError
    from dynanoise.core.outputs import Outputs as Outputs
    from dynanoise.core.result import Result as Result
    from dynanoise.defenses.calibrated_label import CalibratedLabel as CalibratedLabel
    from dynanoise.defenses.dynanoise import DynaNoise as DynaNoise
    from dynanoise.defenses.static import Static as Static
    from dynanoise.defenses.temperature import Temperature as Temperature
    from dynanoise.metrics.midput import Midput as Midput
    from dynanoise.metrics.midput import midput as midput
    from dynanoise.metrics.roc import Roc as Roc
    from dynanoise.metrics.roc import roc as roc
    from dynanoise.noise.fresh import Fresh as Fresh
    from dynanoise.noise.fresh import SystemFresh as SystemFresh
    from dynanoise.noise.keyed import Keyed as Keyed

_HOMES = {
    "AuditReport": "dynanoise.audits.audit_report",
    "CalibratedLabel": "dynanoise.defenses.calibrated_label",
    "Configuration": "dynanoise.config.configuration",
    "DynaNoise": "dynanoise.defenses.dynanoise",
    "DynaNoiseError": "dynanoise.core.errors",
    "Fresh": "dynanoise.noise.fresh",
    "Keyed": "dynanoise.noise.keyed",
    "Midput": "dynanoise.metrics.midput",
    "Outputs": "dynanoise.core.outputs",
    "Result": "dynanoise.core.result",
    "Roc": "dynanoise.metrics.roc",
    "Static": "dynanoise.defenses.static",
    "SystemFresh": "dynanoise.noise.fresh",
    "Temperature": "dynanoise.defenses.temperature",
    "audit": "dynanoise.audits.estimator",
    "audit_training": "dynanoise.audits.training_audit",
    "midput": "dynanoise.metrics.midput",
    "roc": "dynanoise.metrics.roc",
}

__all__ = sorted([*_HOMES, "__version__"])  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "__version__":
        from importlib.metadata import version

        return version("dynanoise")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'dynanoise' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
