"""Out-of-fold answers inside scikit-learn, torch and ONNX."""
