"""Outcomes of an audit for continuous integration: a JUnit file, and a line."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from dynanoise.audits.conditions import Outcome

CLASS = "dynanoise.audit"
"""Class name of the test cases."""


def junit_xml(name: str, outcomes: Sequence[Outcome], differences: Sequence[str] = ()) -> str:
    """Write the conditions of an audit as the test cases of a JUnit suite.

    A condition that holds is a failure, and one that too few records or models resolve is skipped.
    A server whose responses are not as configured is one more failure.

    Args:
        name: name of the suite.
        outcomes: outcomes of the conditions.
        differences: sentences on a server's responses that are not as configured.

    Returns:
        The XML of a file.

    >>> print(junit_xml("audit of outputs", []))
    <?xml version="1.0" encoding="UTF-8"?>
    <testsuites>
      <testsuite name="audit of outputs" tests="0" failures="0" errors="0" skipped="0" />
    </testsuites>
    """
    served = 1 if differences else 0
    counts = {
        "tests": len(outcomes) + served,
        "failures": sum(outcome.holds is True for outcome in outcomes) + served,
        "errors": 0,
        "skipped": sum(outcome.holds is None for outcome in outcomes),
    }
    suites = ElementTree.Element("testsuites")
    texts = {key: str(count) for key, count in counts.items()}
    suite = ElementTree.SubElement(suites, "testsuite", {"name": name, **texts})
    for outcome in outcomes:
        case = _case(suite, f"not {outcome.condition}")
        if outcome.holds is None:
            ElementTree.SubElement(case, "skipped", message=f"not evaluable: {outcome.sentence}")
        elif outcome.holds:
            ElementTree.SubElement(case, "failure", message=outcome.sentence)
        else:
            ElementTree.SubElement(case, "system-out").text = outcome.sentence
    if differences:
        case = _case(suite, "server as configured")
        failure = ElementTree.SubElement(case, "failure", message=differences[0])
        failure.text = "\n".join(differences)
    ElementTree.indent(suites)
    text = ElementTree.tostring(suites, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'


def _case(suite: ElementTree.Element, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", classname=CLASS, name=name)


def verdict_line(outcomes: Sequence[Outcome], differences: Sequence[str] = ()) -> str:
    """Summarise an audit in a line that begins with PASS, FAIL or NOT EVALUABLE.

    Args:
        outcomes: outcomes of the conditions.
        differences: sentences on a server's responses that are not as configured.

    Returns:
        The line. A condition that holds counts before one that cannot be told.

    >>> from dynanoise.audits.conditions import parse_condition
    >>> verdict_line([Outcome(parse_condition("auc>0.6"), True, "It is above.")])
    'FAIL: auc>0.6'
    """
    reasons = [str(outcome.condition) for outcome in outcomes if outcome.holds]
    if differences:
        reasons.append("the server is not as configured")
    if reasons:
        return f"FAIL: {', '.join(reasons)}"
    unresolved = [str(outcome.condition) for outcome in outcomes if outcome.holds is None]
    if unresolved:
        return f"NOT EVALUABLE: {', '.join(unresolved)}"
    return f"PASS: {', '.join(f'not {outcome.condition}' for outcome in outcomes)}"
