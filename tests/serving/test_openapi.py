"""The OpenAPI description: what it says is served, and whatever it allows is answered as it says.

DYNANOISE_FUZZ says how many examples each operation gets, instead of a few.
"""

from __future__ import annotations

import copy
import os
from collections import Counter
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings

from tests.factories.gateways import FEATURES, ROOT
from tests.serving.conftest import Served

pytest.importorskip("starlette", reason="the gateway: pip install 'dynanoise[serve]'")

pytestmark = pytest.mark.process
DESCRIPTION = yaml.safe_load((ROOT / "docs" / "openapi.yaml").read_text())
EXAMPLES = int(os.environ.get("DYNANOISE_FUZZ", "10"))


def test_it_describes_every_route_and_no_other() -> None:
    from dynanoise.serving import http

    routes: Any = http.application(None).routes  # type: ignore[arg-type]
    served = {(one.path, method.lower()) for one in routes for method in one.methods}
    said = {(path, method) for path, item in DESCRIPTION["paths"].items() for method in item}
    assert {one for one in served if one[1] != "head"} == said


def description() -> Any:
    """With the model that is there in the paths, and an input that it takes."""
    said = copy.deepcopy(DESCRIPTION)
    parts, paths = said["components"], said["paths"]
    for path in list(paths):
        operations = paths.pop(path)
        paths[path.replace("{model}", "linear").replace("{version}", "1")] = operations
        for one in operations.values():
            length = [each for each in one.get("parameters", ()) if "Length" in each["$ref"]]
            one["parameters"] = length
    numbers = {"type": "number", "minimum": -1e30, "maximum": 1e30}
    row = {"type": "array", "minItems": FEATURES, "maxItems": FEATURES, "items": numbers}
    right = {"name": {"const": "x"}, "datatype": {"const": "FP32"}, "data": row}
    taken: dict[str, Any] = {"type": "object", "required": ["name", "datatype", "shape", "data"]}
    taken |= {"properties": {**right, "shape": {"const": [1, FEATURES]}}}
    taken["additionalProperties"] = False
    inputs = parts["schemas"]["Request"]["properties"]["inputs"]
    inputs["items"] = {"anyOf": [inputs["items"], taken]}
    return said


def answered(url: str, strategy: Any, checks: list[Any], examples: int) -> Counter[int]:
    """Asks with cases of an operation, and gives the states that were answered."""
    requests = pytest.importorskip("requests", reason="schemathesis brings it")
    counts: Counter[int] = Counter()
    with requests.Session() as session:

        @settings(
            max_examples=examples,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(strategy)
        def run(case: Any) -> None:
            response = case.call(base_url=url, session=session)
            counts[response.status_code] += 1
            case.validate_response(response, checks=checks)

        run()
    return counts


@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_whatever_is_sent_the_answer_is_as_described(served_onnx: Served, mode: str) -> None:
    fuzz = pytest.importorskip("schemathesis", reason="the fuzzer: pip install 'dynanoise[dev]'")
    fuzz.checks.load_all_checks()
    names = ["not_a_server_error", "status_code_conformance", "content_type_conformance"]
    names += ["response_headers_conformance", "response_schema_conformance"]
    names += ["negative_data_rejection"] * (mode == "negative")
    checks = [fuzz.checks.CHECKS.get_one(name) for name in names]
    seen: dict[str, Counter[int]] = {}
    for found in fuzz.openapi.from_dict(description()).get_all_operations():
        operation = found.ok()
        if mode == "negative" and operation.method != "post":
            continue  # there is nothing that could be wrong
        strategy = operation.as_strategy(generation_mode=fuzz.GenerationMode(mode))
        # Without a body there is hardly anything to vary.
        examples = EXAMPLES if operation.method == "post" else max(2, EXAMPLES // 10)
        url = served_onnx.running.url
        seen[operation.label] = answered(url, strategy, checks, examples)
    infer = seen["POST /v2/models/linear/infer"]
    assert infer[400] > 0 and (infer[200] > 0 or mode == "negative"), seen
    assert not any(counts[404] for counts in seen.values())
    assert served_onnx.running.events("failed") == []
