"""The defense in front of a served model, over the Open Inference Protocol."""
