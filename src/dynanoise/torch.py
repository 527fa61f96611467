"""Defended torch modules: ``from dynanoise.torch import Defended, Router``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dynanoise.integrations.digests import weights_digest
    from dynanoise.integrations.out_of_fold.router import Router
    from dynanoise.integrations.torch import Defended

_HOMES = {
    "Defended": "dynanoise.integrations.torch",
    "Router": "dynanoise.integrations.out_of_fold.router",
    "weights_digest": "dynanoise.integrations.digests",
}

__all__ = ["Defended", "Router", "weights_digest"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        from dynanoise.core.extras import require

        require("torch", f"dynanoise.torch.{name}")
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'dynanoise.torch' has no attribute {name!r}")
