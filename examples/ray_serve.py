"""The gateway as a Ray Serve application.

    pip install '.[serve,onnx,fast]' 'ray[serve]'    # in a clone of the project
    export DYNANOISE_KEY="$(cat dynanoise.key)"
    serve run examples.ray_serve:app

The environment variables DYNANOISE_MODEL, DYNANOISE_DEFENSE and DYNANOISE_CLIENTS name files. Every
replica counts its own query budgets; their outputs are the same, for they share the key.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ray import serve

from dynanoise.serving.options import Serving
from dynanoise.serving.startup import application


def gateway() -> Any:
    """Make the gateway's ASGI application, in every replica."""
    return application(
        Serving(
            defense=Path(os.environ["DYNANOISE_DEFENSE"]),
            model=Path(os.environ["DYNANOISE_MODEL"]),
            clients=Path(os.environ["DYNANOISE_CLIENTS"]),
        )
    )


@serve.deployment(max_ongoing_requests=64)
@serve.ingress(gateway)
class Defended:
    """The gateway, mounted."""


app = Defended.bind()
