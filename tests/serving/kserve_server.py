"""KServe's own model server with a model that was trained by the test; needs kserve, not dynanoise.

python kserve_server.py MODEL.onnx PORT
"""

from __future__ import annotations

import sys
from typing import Any

PATH, PORT = sys.argv[1:3]
sys.argv[1:] = ["--http_port", PORT, "--enable_grpc", "false"]  # it reads them when imported

import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer  # noqa: E402


class Digits(Model):  # type: ignore[misc, unused-ignore]
    """Logits of an ONNX model, and its input again as an output that must not leave."""

    def __init__(self) -> None:
        super().__init__("digits")
        self.session = onnxruntime.InferenceSession(PATH, providers=["CPUExecutionProvider"])
        self.ready = True

    def get_input_types(self) -> list[dict[str, Any]]:
        return [{"name": "x", "datatype": "FP32", "shape": [-1, 64]}]

    def get_output_types(self) -> list[dict[str, Any]]:
        return [
            {"name": "logits", "datatype": "FP32", "shape": [-1, 10]},
            {"name": "copy", "datatype": "FP32", "shape": [-1, 64]},
        ]

    def predict(self, payload: InferRequest, headers: Any = None, **_: Any) -> InferResponse:
        x = payload.inputs[0].as_numpy().astype(np.float32)
        (logits,) = self.session.run(["logits"], {"x": x})
        outputs = []
        for name, values in (("logits", logits), ("copy", x)):
            output = InferOutput(name, list(values.shape), "FP32")
            output.set_data_from_numpy(values, binary_data=bool(payload.from_grpc))
            outputs.append(output)
        return InferResponse(payload.id, self.name, outputs)


if __name__ == "__main__":
    ModelServer(workers=1).start([Digits()])
