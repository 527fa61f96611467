"""defense.yaml: what is written is what is read, and what is wrong is said with its line."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dynanoise as dn
from dynanoise.config.configuration import Configuration, Near, UpstreamTls
from dynanoise.core.defense import Defense
from dynanoise.core.errors import InputError, MissingExtraError, NotFittedError, SecretError
from dynanoise.core.registry import DEFENSES
from dynanoise.defenses.hamp import HAMP
from dynanoise.defenses.memguard import MemGuard
from dynanoise.defenses.static import Static
from dynanoise.noise.fresh import Fresh
from dynanoise.noise.keyed import Keyed
from dynanoise.noise.keys import ExperimentKey, Secret
from tests.contract.test_defenses import fitted
from tests.factories.keyed_noise import WEIGHTS

pytest.importorskip("safetensors", reason="fitted arrays need safetensors (extra train)")

SECRET = "5f" * 32
KEYED = Keyed(4.0, "m", WEIGHTS)

positive = st.floats(1e-6, 1e6, allow_nan=False)
dynanoises = st.builds(
    dn.DynaNoise,
    base_variance=st.floats(0, 1e6),
    lambda_scale=st.floats(0, 1e6),
    temperature=positive,
    samples=st.integers(1, 10**6),
    sensitivity=st.sampled_from(["entropy", "max_probability", "margin"]),
    keep_label=st.booleans(),
)
DRAWN: dict[str, st.SearchStrategy[Any]] = {
    "dynanoise": dynanoises,
    "temperature": st.builds(dn.Temperature, positive),
    "static": st.builds(Static, dynanoises),
    "none": st.builds(DEFENSES.get("none")),
    "calibrated_label": st.builds(
        dn.CalibratedLabel,
        st.none() | st.lists(st.floats(0.01, 0.99), min_size=2, max_size=9).map(np.array),
    ),
    "hamp": st.sampled_from([HAMP(), fitted("hamp"), fitted("hamp", 5)]),
    "memguard": st.builds(
        MemGuard,
        epsilon=st.floats(0, 2),
        seed=st.integers(0, 2**63),
        weights=st.sampled_from([None, fitted("memguard").weights]),  # type: ignore[attr-defined]
    ),
}
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=99)
noises = st.just("fresh") | st.builds(
    Keyed,
    positive,
    names,
    st.binary(min_size=32, max_size=32).map(bytes.hex),
    st.sampled_from(["env:DYNANOISE_KEY", "env:K", "file:/run/secrets/key", "file:/a b/#: 'c\"é"]),
)


paths = st.sampled_from([Path("/a b/#: 'c"), Path("/c")])
certificates = st.builds(UpstreamTls, paths) | st.builds(
    UpstreamTls, st.none() | paths, paths, paths
)
nears = st.builds(Near, st.integers(1, 10**9), paths)


def test_every_registered_defense_is_drawn() -> None:
    assert set(DRAWN) == set(DEFENSES.names())


@pytest.mark.behaviour
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.parametrize("name", DEFENSES.names())
def test_what_is_written_is_read(name: str, data: Any, tmp_path: Path) -> None:
    """Every float to the last bit, and any name that a model or tensor may have."""
    noise = data.draw(noises)
    one = Configuration(
        data.draw(DRAWN[name]),
        noise,
        output=data.draw(st.none() | names),
        class_axis=data.draw(st.integers(-4, 4)),
        input=data.draw(st.sampled_from(["logits", "probabilities"])),
        budget=data.draw(st.none() | st.integers(1, 10**12)),
        near=data.draw(st.none() | nears) if isinstance(noise, Keyed) else None,
        upstream_tls=data.draw(st.none() | certificates),
    )
    path = tmp_path / "defense.yaml"
    one.write(path)
    assert Configuration.read(path) == one
    text = path.read_bytes()
    Configuration.read(path).write(path)
    assert path.read_bytes() == text


@pytest.mark.parametrize(
    "name", ["\x85", "a\u2028b", " a\n\nb ", "é", "null", "1.10", "a: #b", "'\""]
)
def test_odd_names_are_read_as_they_are(name: str, tmp_path: Path) -> None:
    """Line ends that are not ours among them; names that can be shown are not escaped."""
    one = Configuration(dn.Temperature(), "fresh", output=name)
    one.write(tmp_path / "defense.yaml")
    assert Configuration.read(tmp_path / "defense.yaml") == one
    assert name != "é" or "output: é\n" in (tmp_path / "defense.yaml").read_text()


def test_a_fitted_defense_answers_the_same_after_it_was_stored(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(0, 3, (40, 3))
    for name in DEFENSES.names():
        defense = fitted(name)
        Configuration(defense, "fresh").write(tmp_path / "defense.yaml")
        found = Configuration.read(tmp_path / "defense.yaml").defense
        np.testing.assert_array_equal(found(rows, Fresh(0)), defense(rows, Fresh(0)))


def test_a_configuration_keeps_its_arrays_while_another_is_written(tmp_path: Path) -> None:
    """As if the second writing had stopped before the configuration itself."""
    path = tmp_path / "defense.yaml"
    first, second = (
        Configuration(dn.CalibratedLabel(np.full(3, share)), "fresh") for share in (0.5, 0.6)
    )
    first.write(path)
    text = path.read_text()
    second.write(path)
    path.write_text(text)
    assert Configuration.read(path) == first


def test_the_example_of_the_docs_is_one(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "deploy.md").read_text()
    text = page.partition("```yaml\n")[2].partition("```")[0]
    weights = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    noise = Keyed(12.0, "shop-recommender", weights)
    near = Near(16, tmp_path / "cells.json")
    files = (tmp_path / name for name in ("models-ca.pem", "client.pem", "client-key.pem"))
    expected = Configuration(
        dn.DynaNoise(keep_label=True),
        noise,
        output="logits",
        budget=5000,
        near=near,
        upstream_tls=UpstreamTls(*files),
    )
    assert Configuration.read(file(tmp_path, text)) == expected
    shorter = "".join(line for line in text.splitlines(True) if "if left out" not in line)
    assert len(shorter.splitlines()) == len(text.splitlines()) - 4
    assert Configuration.read(file(tmp_path, shorter)) == replace(expected, budget=None)


def file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "defense.yaml"
    path.write_text(text)
    return path


WHOLE = f"""version: 1
defense:
  name: dynanoise
  base_variance: 1e-1
  keep_label: yes
output: 1.10
noise:
  name: keyed
  cell_width: 12
  model: 007
  weights: {WEIGHTS}
  key: file:secrets/dynanoise.key
"""


def test_numbers_and_names_are_read_as_people_mean_them(tmp_path: Path) -> None:
    """YAML 1.1 has no float 1e-1, and 1.10 and 007 are numbers to it."""
    found = Configuration.read(file(tmp_path, WHOLE))
    assert found.defense == dn.DynaNoise(0.1, keep_label=True)
    assert found.output == "1.10" and found.class_axis == -1 and found.input == "logits"
    key = f"file:{tmp_path / 'secrets/dynanoise.key'}"
    assert found.noise == Keyed(12.0, "007", WEIGHTS, key) and found.cell_width == 12.0


def test_files_are_beside_the_configuration_wherever_it_is_read_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    label = dn.CalibratedLabel(np.array([0.5, 0.7]))
    key = Keyed(4.0, "m", WEIGHTS, f"file:{tmp_path / 'here' / 'the.key'}")
    Configuration(label, key).write(tmp_path / "here" / "defense.yaml")
    text = (tmp_path / "here" / "defense.yaml").read_text()
    assert "key: file:the.key\n" in text and str(tmp_path) not in text
    (tmp_path / "here").rename(tmp_path / "there")
    monkeypatch.chdir(tmp_path)
    found = Configuration.read(Path("there/defense.yaml"))
    monkeypatch.chdir("/")
    assert isinstance(found.noise, Keyed)
    assert found.noise.key == Secret(f"file:{tmp_path / 'there' / 'the.key'}")
    assert found.defense == label


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("version: 1", "version: 2", r"line 1: version is '2'\. This release reads version 1"),
        ("version: 1", "", "line 2: version is missing"),
        ("output:", "outputs:", "line 6: There is no setting 'outputs'. Did you mean 'output'"),
        ("keep_label", "keep_lable", "line 5: .*'defense.keep_lable'. Did you mean 'keep_label'"),
        ("yes", "7", r"line 5: defense.keep_label is 7\. Use True or False"),
        ("1e-1", "-1", r"line 4: defense.base_variance is -1\. Use a finite number"),
        ("1e-1", ".nan", "line 4: defense.base_variance is nan"),
        ("1e-1", "1:30", "line 4: defense.base_variance is '1:30'"),  # YAML would say 90
        ("1e-1", "0x10", "line 4: defense.base_variance is '0x10'"),
        ("yes", "yes\n  samples: 010", "line 6: defense.samples is '010'"),
        ("1e-1", "[1]", "line 4: There is a list"),
        ("1e-1", "!!python/object:os.system {}", r"line 4: There is a tag \(!\)"),
        ("1e-1", "!!float 1", "line 4: There is a tag"),
        ("1e-1", "&a 1", "line 4: There is an anchor"),
        ("1e-1", "*a", "line 4: There is an anchor or alias"),
        ("1e-1", "{a: 1}", "line 3: There is no defense 'None'"),
        ("1e-1", "2020-13-45", "line 4: defense.base_variance cannot be read"),
        ("  name: dynanoise", "  name: dynanose", "line 3: .*'dynanose'. Did you mean 'dynanoise'"),
        ("  name: dynanoise\n", "", "line 3: defense.name is missing"),
        ("output: 1.10", "class_axis: first", "line 6: class_axis is 'first'. Use an integer"),
        ("output: 1.10", "input: probs", "line 6: input is 'probs'. Use logits or probabilities"),
        ("output: 1.10", "output: ''", "line 6: output is ''"),
        ("output: 1.10", "budget: 0", "line 6: budget is 0. Write a number of queries a day"),
        ("output: 1.10", "neighbourhood: {budget: 0, cells: a}", "neighbourhood.budget is 0"),
        ("output: 1.10", "neighbourhood: {budget: 9}", "neighbourhood.cells is missing"),
        ("output: 1.10", "upstream_tls: {}", "upstream_tls.ca is missing"),
        ("output: 1.10", "upstream_tls: {ca: a, key: b}", "upstream_tls.certificate is missing"),
        ("output: 1.10", "upstream_tls: {certificate: b}", "upstream_tls.key is missing"),
        (
            "output: 1.10",
            "upstream_tls: {cert: b}",
            "line 6: .*'upstream_tls.cert'. Known: ca",
        ),
        ("output: 1.10", "budget: many", "line 6: budget is 'many'"),
        ("output: 1.10", "output: {a: 1}", "line 6: output is a section of its own"),
        ("output: 1.10", "version: 1", "line 6: version is given twice, first in line 1"),
        ("output: 1.10", "fitted: no.safetensors", "line 6: no.safetensors cannot be read"),
        ("output: 1.10", "? [a]\n: 1", "line 6: There is a list"),
        ("output: 1.10", "<<: {a: 1}", "line 6: A name is not plain text"),
        ("output: 1.10", "output: 'a", "line 13: This is not YAML"),
        ("output: 1.10", "output: \x07", "characters or nesting that YAML does not allow"),
        ("  name: keyed", "  name: keys", "line 8: There is no noise 'keys'. Did you mean 'keyed'"),
        ("  name: keyed", "  name: fresh", "line 9: There is no setting 'noise.cell_width'"),
        ("cell_width: 12", "cell_width: wide", "line 9: noise.cell_width is 'wide'. Use a finite"),
        ("  cell_width: 12\n", "", "line 8: noise.cell_width is missing. Write cell_width"),
        ("  model: 007\n", "", "line 8: noise.model is missing"),
        (WEIGHTS, "ab", "line 11: noise.weights are not a SHA-256"),
        ("file:secrets/dynanoise.key", "keys/k", "line 12: noise.key: The key is not a reference"),
    ],
)
def test_what_is_wrong_is_named_with_line_and_remedy(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    with pytest.raises(InputError, match=said) as caught:
        Configuration.read(file(tmp_path, WHOLE.replace(old, new, 1)))
    assert "defense.yaml, line " in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("file:secrets/dynanoise.key", SECRET),
        ("file:secrets/dynanoise.key", f"env:{SECRET}"),
        ("file:secrets/dynanoise.key", f"file:{SECRET}"),
        ("file:secrets/dynanoise.key", f"{{value: {SECRET}}}"),
        ("file:secrets/dynanoise.key", f"{{{SECRET}: 1}}"),
        ("  key:", f"  {SECRET}: 1\n  key:"),
        ("name: keyed", f"name: {SECRET}"),
        ("name: dynanoise", f"name: {SECRET}"),
        ("cell_width: 12", f"cell_width: {SECRET}"),
        ("1e-1", SECRET),
        ("1.10", f"!{SECRET} a"),
        ("1.10", f"'{SECRET}"),
        ("version: 1", f"version: {SECRET}"),
        ("output: 1.10", SECRET),
        ("output: 1.10", f"fitted: {SECRET}"),
        ("output: 1.10", f"input: {SECRET}"),
    ],
)
def test_a_secret_in_the_wrong_place_is_refused_and_not_shown(
    tmp_path: Path, old: str, new: str
) -> None:
    text = WHOLE.replace(old, new, 1)
    assert SECRET in text
    with pytest.raises(InputError) as caught:
        Configuration.read(file(tmp_path, text))
    assert SECRET[:16] not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "holds no settings"),
        (b"- 1", "a list"),
        (b"just text", "holds no settings"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b"a: 1\n---\na: 2\n", "expected a single document|not YAML"),
        (b"a: " + b"{a: " * 3000, "nesting|not YAML"),
    ],
)
def test_what_is_no_configuration_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "defense.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=said):
        Configuration.read(path)
    with pytest.raises(InputError, match="cannot be read"):
        Configuration.read(tmp_path)


def test_a_fitted_file_must_fit(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    text = "version: 1\ndefense: {name: %s}\nnoise: {name: fresh}\nfitted: f.safetensors\n"
    save_file({"confidences": np.array([0.5, 2.0])}, tmp_path / "f.safetensors")
    with pytest.raises(InputError, match=r"line 2: .*not one number in"):
        Configuration.read(file(tmp_path, text % "calibrated_label"))
    with pytest.raises(InputError, match=r"line 2: .*has no parameter 'confidences'"):
        Configuration.read(file(tmp_path, text % "temperature"))
    both = text % "calibrated_label, confidences: 0.5"
    with pytest.raises(InputError, match=r"confidences is in the fitted file, too"):
        Configuration.read(file(tmp_path, both))
    (tmp_path / "f.safetensors").write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(InputError, match=r"line 4: .*not a safetensors file"):
        Configuration.read(file(tmp_path, text % "calibrated_label"))


def test_what_python_passes_is_checked_too(tmp_path: Path) -> None:
    label: Defense = dn.Temperature(2.0)
    for changes, said in (
        ({"defense": dn.Temperature}, "Pass a defense"),
        ({"defense": "dynanoise"}, "Pass a defense"),
        ({"noise": Fresh(0)}, 'Pass "fresh" or Keyed'),
        ({"noise": Keyed(4.0, "m", WEIGHTS, ExperimentKey(0))}, "names its secret by reference"),
        ({"output": ""}, "Name an output"),
        ({"class_axis": True}, "Use an integer"),
        ({"input": "logit"}, "Use logits or probabilities"),
        ({"budget": 1.5}, "Write a number of queries"),
        ({"budget": True}, "Write a number of queries"),
    ):
        wrong: dict[str, Any] = {"defense": label, "noise": "fresh", **changes}
        with pytest.raises(InputError, match=said):
            Configuration(**wrong)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        Configuration(label, "fresh").write(tmp_path / "file" / "defense.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "safetensors.numpy", None)
        with pytest.raises(MissingExtraError, match=r"pip install .*safetensors"):
            Configuration(fitted("hamp"), "fresh").write(tmp_path / "defense.yaml")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file"]


@given(
    axis=st.integers(-3, 2),
    kind=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 10**6),
)
def test_answers_do_not_depend_on_where_the_classes_lie(axis: int, kind: Any, seed: int) -> None:
    """Against the defense asked row by row."""
    rows = np.random.default_rng(seed).normal(0, 5, (2, 3, 4)).astype(kind)
    noise = Keyed(4.0, "m", WEIGHTS, "env:DYNANOISE_TEST_KEY")
    defense = dn.DynaNoise(keep_label=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DYNANOISE_TEST_KEY", SECRET)
        found = Configuration(defense, noise, class_axis=axis).defend(np.moveaxis(rows, -1, axis))
        probs = np.exp(rows.astype(np.float64))
        probs /= probs.sum(-1, keepdims=True)
        given_probs = Configuration(defense, noise, class_axis=axis, input="probabilities")
        same = given_probs.defend(np.moveaxis(probs, -1, axis).astype(kind))
        expected = np.array([[defense(row, noise) for row in pair] for pair in rows])
    assert found.dtype == same.dtype == kind and not set(found.shape) ^ {2, 3, 4}
    np.testing.assert_array_equal(np.moveaxis(found, axis, -1), expected)
    np.testing.assert_array_equal(np.moveaxis(same, axis, -1).argmax(-1), rows.argmax(-1))


def test_probabilities_of_zero_and_ties_keep_their_label() -> None:
    probs = np.zeros((2, 1000))
    probs[0, 7] = 1.0
    probs[1] = 1e-3
    probs[1, 900] = np.nextafter(1e-3, 1)
    assert np.log(probs[1]).argmax() == 0  # the logarithm alone does not tell them apart
    found = Configuration(dn.Temperature(3.0), "fresh", input="probabilities").defend(probs)
    assert found.argmax(-1).tolist() == [7, 900]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([[0.5, 0.6]], "sum to 1.1"),
        ([[1.5, -0.5]], "hold -0.5"),
        ([[np.nan, 1.0]], "nan"),
        ([[1.0]], "single class"),
        ([[1, 0]], "dtype"),
        (1.0, "class axis is -1"),
    ],
)
def test_what_are_no_probabilities_are_refused(values: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Configuration(dn.Temperature(2), "fresh", input="probabilities").defend(values)


def test_fresh_answers_differ_and_keyed_ones_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.tile([3.0, 1.0, 0.0], (50, 1))
    fresh = Configuration(dn.DynaNoise(), "fresh")
    answers = np.concatenate([fresh.defend(rows) for _ in range(8)])
    assert len(np.unique(answers[:, 0])) == len(answers)
    keyed = Configuration(dn.DynaNoise(), KEYED)
    monkeypatch.delenv("DYNANOISE_KEY", raising=False)
    with pytest.raises(SecretError, match="is not set"):
        keyed.defend(rows)
    monkeypatch.setenv("DYNANOISE_KEY", SECRET)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: keyed.defend(rows), range(32)))
        assert len({one.tobytes() for one in found}) == 1 and (found[0] == found[0][0]).all()
        again = list(pool.map(lambda _: fresh.defend(rows), range(32)))
        assert len({one.tobytes() for one in again}) == 32


def test_no_secret_is_in_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DYNANOISE_KEY", SECRET)
    one = Configuration(dn.DynaNoise(), KEYED)
    one.defend([[0.0, 1.0]])
    one.write(tmp_path / "defense.yaml")
    assert SECRET not in repr(one) + (tmp_path / "defense.yaml").read_text()


def test_an_unfitted_defense_says_so_when_it_answers() -> None:
    with pytest.raises(NotFittedError):
        Configuration(dn.CalibratedLabel(), "fresh").defend([[0.0, 1.0]])
