"""Models behind the gateway: an ONNX session in the process, or another server."""
