"""The defense inside scikit-learn, torch, transformers and ONNX."""
