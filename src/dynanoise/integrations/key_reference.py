"""The parameter ``key`` of classifiers: the place of a secret, never the secret itself."""

from __future__ import annotations

import re
from typing import Any

from dynanoise.noise.keys import Secret


class KeyReference:
    """Refuse a secret as the value of ``key`` as soon as it is set."""

    def __setattr__(self, name: str, value: Any) -> None:
        # scikit-learn has parameters checked by `fit`; a secret would be in a repr before that.
        if name == "key" and _looks_secret(value):
            Secret("")  # refuses
        super().__setattr__(name, value)


def _looks_secret(key: Any) -> bool:
    """Whether a key is rather a secret than a reference to one.

    >>> _looks_secret("5f" * 32), _looks_secret("env:" + "5f" * 32), _looks_secret("env:KEY")
    (True, True, False)
    """
    if isinstance(key, bytes | bytearray):
        return True
    kind, _, place = key.partition(":") if isinstance(key, str) else ("", "", "")
    return re.fullmatch(r"\s*[0-9a-fA-F]{32,}\s*", place or kind) is not None
