"""`dynanoise serve`."""

from __future__ import annotations

from dynanoise.serving.options import Serving


def serve(options: Serving) -> None:
    """Serve a model with defended outputs, over the Open Inference Protocol.

    The model is an ONNX file, or is on another server. Only the defended output leaves. Logs are
    JSON on standard error, without inputs, outputs or secrets.

    Examples:
        dynanoise serve --model m.onnx --defense tuned/defense.yaml --clients clients.txt
    """
    from dynanoise.serving import startup

    startup.serve(options)
