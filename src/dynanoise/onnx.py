"""The defense in ONNX graphs: ``from dynanoise.onnx import DefendedSession, export``."""

from __future__ import annotations

from dynanoise.deploy.onnx import Exported, export
from dynanoise.deploy.onnx_session import DefendedSession

__all__ = ["DefendedSession", "Exported", "export"]
