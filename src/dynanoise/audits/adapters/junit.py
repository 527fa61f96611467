"""Outcomes of an audit for continuous integration: a JUnit file, and a line."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from dynanoise.audits.conditions import Outcome

CLASS = "dynanoise.audit"
"""Class name of the test cases."""


def junit_xml(
    name: str,
    outcomes: Sequence[Outcome],
    differences: Sequence[str] | None = None,
    verdict: str = "",
) -> str:
    """Write the conditions of an audit as the test cases of a JUnit suite.

    A condition that holds is a failure, and one that too few records or models resolve is skipped.
    The responses of a server that should follow a configuration are one more test case. Without
    either there is a skipped one, because tools take a suite without test cases for an error.

    Args:
        name: name of the suite.
        outcomes: outcomes of the conditions.
        differences: sentences on a server's responses that are not as configured; None without a
            configuration.
        verdict: the finding, for the skipped test case.

    Returns:
        The XML of a file.

    >>> print(junit_xml("audit of outputs", [], verdict="AUC 0.6."))
    <?xml version="1.0" encoding="UTF-8"?>
    <testsuites>
      <testsuite name="audit of outputs" tests="1" failures="0" errors="0" skipped="1">
        <testcase classname="dynanoise.audit" name="audit">
          <skipped message="no condition of failure was given: AUC 0.6." />
        </testcase>
      </testsuite>
    </testsuites>
    """
    suites, suite = _suite(name)
    for outcome in outcomes:
        case = _case(suite, f"not {outcome.condition}")
        if outcome.holds is None:
            ElementTree.SubElement(case, "skipped", message=f"not evaluable: {outcome.sentence}")
        elif outcome.holds:
            ElementTree.SubElement(case, "failure", message=outcome.sentence)
        else:
            ElementTree.SubElement(case, "system-out").text = outcome.sentence
    if differences is not None:
        case = _case(suite, "server as configured")
        if differences:
            failure = ElementTree.SubElement(case, "failure", message=differences[0])
            failure.text = "\n".join(differences)
    if not len(suite):
        message = f"no condition of failure was given: {verdict}"
        ElementTree.SubElement(_case(suite, "audit"), "skipped", message=message)
    return _text(suites, suite)


def junit_error(name: str, conditions: Sequence[str], reason: str) -> str:
    """Write a JUnit suite of an audit that ended before its conditions were checked.

    Args:
        name: name of the suite.
        conditions: the conditions, each of which becomes a test case with an error; without any
            there is one for the audit.
        reason: why the audit ended.

    Returns:
        The XML of a file.
    """
    suites, suite = _suite(name)
    for case in [f"not {condition}" for condition in conditions] or ["audit"]:
        ElementTree.SubElement(_case(suite, case), "error", message=reason)
    return _text(suites, suite)


def _suite(name: str) -> tuple[ElementTree.Element, ElementTree.Element]:
    """The root of a file, and its suite."""
    suites = ElementTree.Element("testsuites")
    return suites, ElementTree.SubElement(suites, "testsuite", name=name)


def _case(suite: ElementTree.Element, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", classname=CLASS, name=name)


def _text(suites: ElementTree.Element, suite: ElementTree.Element) -> str:
    """XML of a file, with the numbers of test cases."""
    suite.set("tests", str(len(suite)))
    for count, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(count, str(len(suite.findall(f"testcase/{kind}"))))
    ElementTree.indent(suites)
    text = ElementTree.tostring(suites, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'


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
