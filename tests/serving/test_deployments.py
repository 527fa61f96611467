"""What lies under docker/ names options, files and settings that there are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from dynanoise.cli import app
from dynanoise.config.configuration import Configuration
from dynanoise.core.errors import InputError
from dynanoise.noise.keyed import Keyed
from tests.factories.gateways import ROOT

DOCKER = ROOT / "docker"
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
KSERVE = list(yaml.safe_load_all((DOCKER / "kserve.yaml").read_text()))


def options(arguments: list[str]) -> dict[str, Any]:
    command: Any = typer.main.get_command(app)
    serve = command.commands["serve"]
    found: dict[str, Any] = serve.make_context("serve", list(arguments)).params
    return found


def containers() -> dict[str, Any]:
    listed = KSERVE[0]["spec"]["predictor"]["containers"]
    return {one["name"]: one for one in listed}


@pytest.mark.parametrize(
    "arguments",
    [COMPOSE["services"]["gateway"]["command"], containers()["transformer-container"]["args"]],
)
def test_the_arguments_are_those_of_serve(arguments: list[str]) -> None:
    said = options(arguments)
    assert said["model_name"] == "m" and said["host"] == "0.0.0.0"
    assert said["clients"] is not None and not said["no_auth"] and said["fresh"] is None


def test_the_model_is_reached_through_the_gateway_alone() -> None:
    model, own = COMPOSE["services"]["model"], COMPOSE["services"]["gateway"]
    assert "ports" not in model and model["networks"] == ["model"]
    assert COMPOSE["networks"]["model"]["internal"] is True
    assert own["ports"] == ["127.0.0.1:8080:8080"] and own["read_only"] is True
    inside, gateway = containers()["kserve-container"], containers()["transformer-container"]
    port = re.search(r"--http_port=(\d+)", " ".join(inside["args"]))
    assert port and options(gateway["args"])["upstream"].endswith(f":{port[1]}")
    (policy,) = (one for one in KSERVE if one["kind"] == "NetworkPolicy")
    opened = [one["port"] for rule in policy["spec"]["ingress"] for one in rule["ports"]]
    assert opened == [options(gateway["args"])["port"]] == [8080] and port[1] != "8080"
    assert gateway["securityContext"]["runAsNonRoot"] is True


def test_budgets_are_in_a_store_that_the_gateway_alone_reaches() -> None:
    store, said = COMPOSE["services"]["store"], options(COMPOSE["services"]["gateway"]["command"])
    assert said["budget_store"] == "redis://store:6379/0" and said["store_failure"] == "closed"
    assert "ports" not in store and store["networks"] == ["store"]
    assert COMPOSE["networks"]["store"]["internal"] is True
    assert said["store_password"] == "file:/run/secrets/store" and store["secrets"] == ["store"]
    (command,) = store["command"]
    assert "appendonly yes" in command and "budgets:/data" in store["volumes"]


def test_the_configuration_in_the_manifest_is_one(tmp_path: Path) -> None:
    (held,) = (one for one in KSERVE if one["kind"] == "ConfigMap")
    path = tmp_path / "defense.yaml"
    text = held["data"]["defense.yaml"]
    path.write_text(text)
    with pytest.raises(InputError, match=r"line 9: noise.weights are not a SHA-256"):
        Configuration.read(path)  # not before the user has written that of the model
    path.write_text(text.replace("SHA256", "5f" * 32))
    found = Configuration.read(path)
    assert isinstance(found.noise, Keyed) and found.output == "output-0"
    assert found.defense.keeps_labels


def test_there_is_time_and_room_to_compile_the_defense() -> None:
    text = (DOCKER / "Dockerfile").read_text()
    (folder,) = re.findall(r"NUMBA_CACHE_DIR=(\S+)", text)
    assert f"install -d -o 65532 -g 65532 {folder}" in text and "--start-period=180s" in text
    assert f"compiled:{folder}" in COMPOSE["services"]["gateway"]["volumes"]
    gateway = containers()["transformer-container"]
    mounts = {one["name"]: one["mountPath"] for one in gateway["volumeMounts"]}
    assert mounts["compiled"] == folder
    probe = gateway["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 180


def test_there_is_time_to_answer_what_was_accepted() -> None:
    """Drain, and what a slow model may take: after that a gateway is killed."""
    needed = {
        name: one["drain"] + one["timeout"] + 5
        for name, one in (
            ("compose", options(COMPOSE["services"]["gateway"]["command"])),
            ("kserve", options(containers()["transformer-container"]["args"])),
        )
    }
    grace = COMPOSE["services"]["gateway"]["stop_grace_period"]
    assert int(grace.removesuffix("s")) > needed["compose"]
    pod = KSERVE[0]["spec"]["predictor"]["terminationGracePeriodSeconds"]
    assert pod > needed["kserve"]
    # The model must not end before the gateway: both are told at once, and compose only says the
    # one first that depends on the other.
    assert COMPOSE["services"]["gateway"]["depends_on"] == ["model", "store"]
    (command, seconds) = containers()["kserve-container"]["lifecycle"]["preStop"]["exec"]["command"]
    assert command == "sleep" and needed["kserve"] - 5 < int(seconds) < pod


def test_a_gateway_that_is_slow_is_not_restarted() -> None:
    """A restart would give every client a new budget."""
    probe = containers()["transformer-container"]["livenessProbe"]
    assert probe["timeoutSeconds"] >= 10 and probe["failureThreshold"] >= 6


def test_the_image_runs_as_nobody_special() -> None:
    text = (DOCKER / "Dockerfile").read_text()
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["65532:65532"]
    assert 'ENTRYPOINT ["dynanoise", "serve"]' in text


def test_containers_are_limited() -> None:
    """In memory, processor time, system calls, and connections to the outside."""
    for container in containers().values():
        assert {"cpu", "memory"} == set(container["resources"]["limits"])
        context = container["securityContext"]
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["allowPrivilegeEscalation"] is False
    (policy,) = (entry for entry in KSERVE if entry["kind"] == "NetworkPolicy")
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert policy["spec"]["egress"] == []
    for service in COMPOSE["services"].values():
        assert service["mem_limit"] and service["cpus"] and service["cap_drop"] == ["ALL"]
