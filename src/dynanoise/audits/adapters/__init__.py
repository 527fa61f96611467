"""Audits in the form that other tools take: a scorer of scikit-learn, metadata of model cards."""
