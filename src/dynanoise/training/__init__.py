"""Training: data become trained models, and these `Outputs`; the only room that trains."""
