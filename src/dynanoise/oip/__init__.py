"""Tensors and messages of the Open Inference Protocol, shared by server and auditor."""
