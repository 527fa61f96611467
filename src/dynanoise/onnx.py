"""The defense in ONNX graphs: ``from dynanoise.onnx import DefendedSession, export``."""

from __future__ import annotations

from dynanoise.integrations.onnx_export import Exported, export
from dynanoise.integrations.onnx_session import DefendedSession
from dynanoise.integrations.out_of_fold.onnx_export import export_out_of_fold

__all__ = ["DefendedSession", "Exported", "export", "export_out_of_fold"]
