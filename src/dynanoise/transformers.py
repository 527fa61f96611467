"""The defense in a transformers pipeline: ``from dynanoise.transformers import defend``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dynanoise.integrations.digests import weights_digest
    from dynanoise.integrations.transformers import defend

_HOMES = {
    "defend": "dynanoise.integrations.transformers",
    "weights_digest": "dynanoise.integrations.digests",
}

__all__ = ["defend", "weights_digest"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        from dynanoise.core.extras import require

        require("transformers", f"dynanoise.transformers.{name}")
        require("torch", f"dynanoise.transformers.{name}")
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'dynanoise.transformers' has no attribute {name!r}")
