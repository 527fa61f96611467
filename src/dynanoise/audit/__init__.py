"""Attacks and contenders brought together: benchmarks, and audits of models that users bring.

The package can be called, too: ``dynanoise.audit(estimator, X, y)`` is `estimator.audit`. A
function and a package cannot both be called ``dynanoise.audit``, and importing any part of the
package would put it in the function's place.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dynanoise.audit.result import AuditResult


class _Callable(ModuleType):
    def __call__(self, estimator: Any, X: Any, y: Any, **options: Any) -> AuditResult:
        """See `dynanoise.audit.estimator.audit`."""
        from dynanoise.audit.estimator import audit

        return audit(estimator, X, y, **options)


sys.modules[__name__].__class__ = _Callable
