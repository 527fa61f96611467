"""Trains a model for MLServer, with what is installed beside it.

    python mlserver_model.py FOLDER HTTP_PORT GRPC_PORT METRICS_PORT

Writes the model, MLServer's settings, and known.npz: test images, labels, and its probabilities.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main() -> None:
    import joblib
    import numpy as np
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression

    folder = Path(sys.argv[1])
    http, grpc, metrics = map(int, sys.argv[2:5])
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32)
    model = LogisticRegression(C=10, max_iter=500).fit(images[:1400], labels[:1400])
    joblib.dump(model, folder / "digits.joblib")
    rest = images[1400:]
    probs = model.predict_proba(rest)
    np.savez(folder / "known.npz", images=rest, labels=labels[1400:], probs=probs)
    settings = {"host": "127.0.0.1", "http_port": http, "grpc_port": grpc, "metrics_port": metrics}
    settings |= {"parallel_workers": 0, "debug": False}
    (folder / "settings.json").write_text(json.dumps(settings))
    said = {
        "name": "digits",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 64]}],
        "outputs": [{"name": "predict_proba", "datatype": "FP32", "shape": [-1, 10]}],
        "parameters": {"uri": "./digits.joblib", "version": "v1"},
    }
    (folder / "model-settings.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main()
