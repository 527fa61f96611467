"""Audits of a served model over the Open Inference Protocol."""
