"""Standards that ask for audits of membership inference, and what the numbers say to each."""

from __future__ import annotations

STANDARDS: tuple[tuple[str, str], ...] = (
    (
        "OWASP AISVS 1.0, C11.2.5: testing a model for membership inference. The balanced "
        "accuracy, AUC and TPR at low FPR of the attacker's choice are the result of such a test; "
        "conditions of --fail-if make it a gate.",
        "They say nothing on model inversion, extraction of the model, or attackers with access to "
        "its weights.",
    ),
    (
        "EDPB Opinion 28/2024: whether personal data can be obtained from a model with more than "
        "an insignificant likelihood, by means reasonably likely to be used. TPR at 0.1% FPR, "
        "precision at a realistic share of members, groups, and records most at risk speak to it "
        "for one of these means, membership inference.",
        "A low number is not anonymity: extraction, reconstruction and attribute inference are "
        "other means, and the opinion asks for a case-by-case assessment of all.",
    ),
    (
        "MITRE ATLAS AML.T0024.000, Infer Training Data Membership: the threat model of each "
        "verdict, with its query budget, is an instance of this technique, and its numbers are the "
        "success of that instance, undefended and behind a defense.",
        "They are of the attacks and the number of shadow models named here; a stronger attacker "
        "may find more.",
    ),
)
"""Pairs of what the numbers say, and what they do not."""

NOTE = "This section maps numbers to texts; it is neither legal advice nor a certificate."
