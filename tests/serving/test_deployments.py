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
KSERVE, KUBERNETES, STORE = (
    list(yaml.safe_load_all((DOCKER / f"{name}.yaml").read_text()))
    for name in ("kserve", "kubernetes", "store")
)
COMPONENT = {"minReplicas"}
"""Fields of a predictor of KServe that are not those of a pod."""


def options(arguments: list[str]) -> dict[str, Any]:
    command: Any = typer.main.get_command(app)
    serve = command.commands["serve"]
    found: dict[str, Any] = serve.make_context("serve", list(arguments)).params
    return found


def of_kind(manifest: list[Any], kind: str) -> Any:
    (found,) = (entry for entry in manifest if entry["kind"] == kind)
    return found


PODS = {
    "kserve": KSERVE[0]["spec"]["predictor"],
    "kubernetes": of_kind(KUBERNETES, "Deployment")["spec"]["template"]["spec"],
    "store": of_kind(STORE, "StatefulSet")["spec"]["template"]["spec"],
}


def containers(pod: str = "kserve") -> dict[str, Any]:
    return {one["name"]: one for one in PODS[pod]["containers"]}


GATEWAYS = {
    "kserve": containers()["transformer-container"],
    "kubernetes": containers("kubernetes")["gateway"],
}


@pytest.mark.behaviour
@pytest.mark.parametrize("manifest", [KSERVE, KUBERNETES, STORE])
def test_manifests_fit_their_schemas(manifest: list[Any]) -> None:
    """Those of Kubernetes, unknown fields refused; of a predictor of KServe that of its pod."""
    schemas = pytest.importorskip(
        "kubernetes_validate", reason="Kubernetes' schemas: pip install 'dynanoise[dev]'"
    )
    for entry in manifest:
        if entry["kind"] == "InferenceService":
            assert set(entry) == {"apiVersion", "kind", "metadata", "spec"}
            (predictor,) = entry["spec"].values()
            spec = {name: value for name, value in predictor.items() if name not in COMPONENT}
            checked = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}
        else:
            checked = entry
        schemas.validate(checked, "1.37", strict=True)
        with pytest.raises(schemas.ValidationError):
            schemas.validate({**checked, "replicaz": 3}, "1.37", strict=True)


@pytest.mark.parametrize(
    "arguments",
    [
        COMPOSE["services"]["gateway"]["command"],
        *(container["args"] for container in GATEWAYS.values()),
    ],
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
    policy = of_kind(KSERVE, "NetworkPolicy")
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


@pytest.mark.parametrize("name", GATEWAYS)
def test_replicas_on_kubernetes_share_a_store_that_they_alone_reach(name: str) -> None:
    service, policy = of_kind(STORE, "Service"), of_kind(STORE, "NetworkPolicy")
    stateful = of_kind(STORE, "StatefulSet")["spec"]
    labels = stateful["template"]["metadata"]["labels"]
    for selector in (service["spec"]["selector"], policy["spec"]["podSelector"]["matchLabels"]):
        assert selector == labels == stateful["selector"]["matchLabels"]
    ((port,),) = (service["spec"]["ports"],)
    said, pod = options(GATEWAYS[name]["args"]), PODS[name]
    assert said["budget_store"] == f"redis://{service['metadata']['name']}:{port['port']}/0"
    assert said["store_failure"] == "closed"
    # Its password is a file of the secret, for the gateway and for the store.
    mounts = {one["mountPath"]: one["name"] for one in GATEWAYS[name]["volumeMounts"]}
    place = Path(said["store_password"].removeprefix("file:"))
    (inside,) = containers("store").values()
    inner = {one["mountPath"]: one["name"] for one in inside["volumeMounts"]}
    for of_pod, volume in (
        (pod, mounts[str(place.parent)]),
        (PODS["store"], inner["/run/secrets"]),
    ):
        (secret,) = (one["secret"] for one in of_pod["volumes"] if one["name"] == volume)
        assert secret["secretName"] == "dynanoise"
        assert {"key": place.name, "path": place.name} in secret["items"]
    assert (
        f"/run/secrets/{place.name}" in inside["args"][0] and "appendonly yes" in inside["args"][0]
    )
    assert inner["/data"] == stateful["volumeClaimTemplates"][0]["metadata"]["name"]
    # Only these pods reach it, and they reach nothing else but names.
    manifest = KSERVE if name == "kserve" else KUBERNETES
    own = of_kind(manifest, "NetworkPolicy")["spec"]
    (ingress,) = policy["spec"]["ingress"]
    assert {"podSelector": own["podSelector"]} in ingress["from"] and policy["spec"]["egress"] == []
    to_store, names = own["egress"]
    assert to_store == {"to": [{"podSelector": {"matchLabels": labels}}], "ports": [port]}
    assert {each["port"] for each in names["ports"]} == {53}


def test_plain_gateways_are_those_of_the_service() -> None:
    deployment, service = of_kind(KUBERNETES, "Deployment")["spec"], of_kind(KUBERNETES, "Service")
    labels = deployment["template"]["metadata"]["labels"]
    budget = of_kind(KUBERNETES, "PodDisruptionBudget")["spec"]
    policy = of_kind(KUBERNETES, "NetworkPolicy")["spec"]
    selectors = (deployment["selector"], budget["selector"], policy["podSelector"])
    assert all(selector == {"matchLabels": labels} for selector in selectors)
    assert service["spec"]["selector"] == labels and deployment["replicas"] >= 2
    (port,) = service["spec"]["ports"]
    opened = [each["port"] for rule in policy["ingress"] for each in rule["ports"]]
    assert opened == [port["targetPort"]] == [options(GATEWAYS["kubernetes"]["args"])["port"]]


def test_the_password_of_the_store_is_made_for_its_owner_alone() -> None:
    for name in ("compose", "store"):
        head = (DOCKER / f"{name}.yaml").read_text().partition("\n\n")[0].split("\napiVersion")[0]
        (command,) = re.findall(r"\((umask 077;.*?)\)$", head, re.DOTALL | re.MULTILINE)
        assert command.endswith("store.password")
    assert COMPOSE["secrets"]["store"]["file"] == "./secrets/store.password"
    assert "docker/secrets/" in (ROOT / ".gitignore").read_text().splitlines()


def test_the_configuration_in_the_manifest_is_one(tmp_path: Path) -> None:
    held = of_kind(KSERVE, "ConfigMap")
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
    for gateway in GATEWAYS.values():
        mounts = {one["name"]: one["mountPath"] for one in gateway["volumeMounts"]}
        assert mounts["compiled"] == folder
        probe = gateway["startupProbe"]
        assert probe["periodSeconds"] * probe["failureThreshold"] >= 180


def test_there_is_time_to_answer_what_was_accepted() -> None:
    """Drain, and what a slow model may take: after that a gateway is killed."""
    commands = {name: gateway["args"] for name, gateway in GATEWAYS.items()}
    commands["compose"] = COMPOSE["services"]["gateway"]["command"]
    needed = {
        name: one["drain"] + one["timeout"] + 5
        for name, one in ((name, options(command)) for name, command in commands.items())
    }
    grace = COMPOSE["services"]["gateway"]["stop_grace_period"]
    assert int(grace.removesuffix("s")) > needed["compose"]
    pod = PODS["kserve"]["terminationGracePeriodSeconds"]
    for name in GATEWAYS:
        assert PODS[name]["terminationGracePeriodSeconds"] > needed[name]
    # The model must not end before the gateway: both are told at once, and compose only says the
    # one first that depends on the other.
    assert COMPOSE["services"]["gateway"]["depends_on"] == ["model", "store"]
    (command, seconds) = containers()["kserve-container"]["lifecycle"]["preStop"]["exec"]["command"]
    assert command == "sleep" and needed["kserve"] - 5 < int(seconds) < pod


def test_a_gateway_that_is_slow_is_not_restarted() -> None:
    """A restart would lose what it has accepted."""
    for gateway in GATEWAYS.values():
        probe = gateway["livenessProbe"]
        assert probe["timeoutSeconds"] >= 10 and probe["failureThreshold"] >= 6


def test_the_image_runs_as_nobody_special() -> None:
    text = (DOCKER / "Dockerfile").read_text()
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["65532:65532"]
    assert 'ENTRYPOINT ["dynanoise", "serve"]' in text


def test_containers_are_limited() -> None:
    """In memory, processor time, system calls, and connections to the outside."""
    for container in (one for pod in PODS.values() for one in pod["containers"]):
        assert {"cpu", "memory"} == set(container["resources"]["limits"])
        context = container["securityContext"]
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["allowPrivilegeEscalation"] is False
    for manifest in (KSERVE, KUBERNETES, STORE):
        assert of_kind(manifest, "NetworkPolicy")["spec"]["policyTypes"] == ["Ingress", "Egress"]
    for service in COMPOSE["services"].values():
        assert service["mem_limit"] and service["cpus"] and service["cap_drop"] == ["ALL"]
