"""The graph's answers are the library's, given the same normals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dynanoise.core.errors import InputError
from dynanoise.core.registry import DEFENSES, SENSITIVITIES
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.defenses.static import Static
from dynanoise.defenses.temperature import Temperature
from dynanoise.noise.fresh import Fresh
from tests.factories import onnx_models
from tests.factories.onnx_models import floats
from tests.factories.outputs import LARGEST_FLOAT32, logit_arrays, make_view
from tests.factories.wrapper_noise import FixedNoise

pytest.importorskip("onnxruntime", reason="pip install 'dynanoise[onnx]'")

from dynanoise.onnx import export

TOLERANCE = 1e-6
"""Of probabilities, by float32 for T >= 1; docs/wrappers.md says so, too."""

SETTINGS = st.builds(
    DynaNoise,
    base_variance=st.sampled_from([0.0, 0.1, 0.3, 2.0]),
    lambda_scale=st.sampled_from([0.0, 2.0, 6.0]),
    temperature=st.sampled_from([1.0, 4.0, 10.0, 100.0]),
    samples=st.integers(1, 4),
    sensitivity=st.sampled_from(SENSITIVITIES.names()),
    keep_label=st.booleans(),
)
FLOAT32 = st.one_of(
    logit_arrays(dtype=np.float32),
    logit_arrays(largest=1e30, dtype=np.float32),
    logit_arrays(largest=LARGEST_FLOAT32, dtype=np.float32),
)


@pytest.mark.behaviour
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=FLOAT32, defense=SETTINGS, seed=st.integers(0, 2**32))
def test_any_setting_and_logits(tmp_path: Path, rows: Any, defense: DynaNoise, seed: int) -> None:
    source = onnx_models.identity(tmp_path / "m.onnx", rows.shape[1])
    made = export(source, tmp_path / "d.onnx", defense)
    drawn = np.random.default_rng(seed).normal(size=(defense.samples, *rows.shape))
    normals = drawn.astype(np.float32)
    assert (made.noise is None) == (defense.base_variance == 0)
    feed = {"x": rows} | ({"noise": normals} if made.noise else {})
    found = onnx_models.run(tmp_path / "d.onnx", **feed)
    expected = defense(rows, FixedNoise(normals))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(found.sum(-1), 1, atol=TOLERANCE)
    if defense.keep_label or defense.base_variance == 0:
        np.testing.assert_array_equal(found.argmax(-1), rows.argmax(-1))


def test_the_numbers_of_the_librarys_doctest_by_two_runtimes(tmp_path: Path) -> None:
    made = export(onnx_models.identity(tmp_path / "m.onnx"), tmp_path / "d.onnx", DynaNoise())
    rows = floats([[6.0, 0.0, 0.0]])
    normals = Fresh(0).draw(np.zeros((1, 3)), 1, "")[1].astype(np.float32)
    assert made.noise_shape == (1, "batch", 3)
    for evaluate in (onnx_models.run, onnx_models.reference):
        found = evaluate(tmp_path / "d.onnx", x=rows, noise=normals)
        assert found.round(4).tolist() == floats([[0.493, 0.2608, 0.2462]]).tolist()


def test_each_stage_by_hand(tmp_path: Path) -> None:
    """Two classes, one normal: everything on paper."""
    source = onnx_models.identity(tmp_path / "m.onnx", 2)
    export(source, tmp_path / "d.onnx", DynaNoise(0.5, 3, 2))
    gap = np.log(3)
    p = np.array([0.75, 0.25])
    sensitivity = 1 + (p * np.log(p)).sum() / np.log(2)
    sigma = np.sqrt(0.5 * (1 + 3 * sensitivity))
    expected = 1 / (1 + np.exp(-(gap + sigma * (1.0 - -0.5)) / 2))
    found = onnx_models.run(
        tmp_path / "d.onnx", x=floats([[gap, 0]]), noise=floats([[[1.0, -0.5]]])
    )
    np.testing.assert_allclose(found, [[expected, 1 - expected]], atol=1e-7)


@pytest.mark.parametrize("temperature", [1e-3, 1e-37])
def test_temperatures_near_zero_are_the_label_alone(tmp_path: Path, temperature: float) -> None:
    defense = DynaNoise(0.3, 2, temperature)
    export(onnx_models.identity(tmp_path / "m.onnx"), tmp_path / "d.onnx", defense)
    rows = floats([[6, 0, 0], [0, 5, -3e38], [-3e38, 3e38, 0]])
    normals = np.full((1, 3, 3), 50, np.float32)  # over T, more than float32 holds
    found = onnx_models.run(tmp_path / "d.onnx", x=rows, noise=normals)
    np.testing.assert_array_equal(found, np.eye(3)[[0, 1, 1]])


@pytest.mark.parametrize("keep_label", [False, True])
def test_labels_of_ties_and_near_ties(tmp_path: Path, keep_label: bool) -> None:
    defense = DynaNoise(0.3 if keep_label else 0.0, samples=2, keep_label=keep_label)
    export(onnx_models.identity(tmp_path / "m.onnx"), tmp_path / "d.onnx", defense)
    rows = floats([[1, 1, 1], [0, 1, 1], [1, 1.0000001, 1], [-1e30, 0, 1e-30], [0, -0.0, 0]])
    feed = {"noise": np.zeros((2, 5, 3), np.float32)} if keep_label else {}
    found = onnx_models.run(tmp_path / "d.onnx", x=rows, **feed)
    np.testing.assert_array_equal(found.argmax(-1), rows.argmax(-1))
    np.testing.assert_allclose(found[0], 1 / 3, rtol=1e-6)


def test_a_thousand_classes_and_no_rows(tmp_path: Path) -> None:
    defense = DynaNoise(keep_label=True, samples=3)
    export(onnx_models.identity(tmp_path / "m.onnx", 1000), tmp_path / "d.onnx", defense)
    generator = np.random.default_rng(0)
    for count in (0, 1, 7):
        rows = generator.normal(0, 5, (count, 1000)).astype(np.float32)
        normals = generator.normal(size=(3, count, 1000)).astype(np.float32)
        found = onnx_models.run(tmp_path / "d.onnx", x=rows, noise=normals)
        np.testing.assert_allclose(found, defense(rows, FixedNoise(normals)), atol=TOLERANCE)


def test_normals_for_fewer_rows_are_not_repeated(tmp_path: Path) -> None:
    """One draw for a whole batch would cancel in the difference of two answers."""
    export(onnx_models.identity(tmp_path / "m.onnx"), tmp_path / "d.onnx", DynaNoise(samples=2))
    rows = np.zeros((6, 3), np.float32)
    for shape in ((2, 1, 3), (2, 3, 3), (2, 6, 1)):
        with pytest.raises(Exception, match=r"(?i)reshape|dimension|shape"):
            onnx_models.run(tmp_path / "d.onnx", x=rows, noise=np.zeros(shape, np.float32))


@pytest.mark.parametrize("defense", [Temperature(4), Temperature(1), DynaNoise(0, 0, 4)])
def test_without_variance_there_is_no_noise_input(tmp_path: Path, defense: Any) -> None:
    made = export(onnx_models.identity(tmp_path / "m.onnx"), tmp_path / "d.onnx", defense)
    assert made.noise is None and made.noise_shape == ()
    rows = floats([[1, 2, 3]])
    found = onnx_models.run(tmp_path / "d.onnx", x=rows)
    np.testing.assert_allclose(found, defense(rows, Fresh(0)), atol=1e-7)


@pytest.mark.parametrize(
    "name", sorted(set(DEFENSES.names()) - {"dynanoise", "temperature", "none"})
)
def test_other_defenses_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot be written into a graph"):
        export(tmp_path / "m.onnx", tmp_path / "d.onnx", DEFENSES.get(name)())


def test_fitted_static_noise_is_a_setting_of_dynanoise(tmp_path: Path) -> None:
    fitted = Static().fit(make_view())
    made = export(onnx_models.identity(tmp_path / "m.onnx"), tmp_path / "d.onnx", fitted)
    assert made.setting == fitted and made.setting.lambda_scale == 0


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"temperature": 1e-39}, "temperature is 1e-39"),
        ({"base_variance": 1e300, "lambda_scale": 0}, "base_variance is 1e[+]300"),
        ({"base_variance": 1e30, "lambda_scale": 1e20}, r"base_variance \(1 [+] lambda_scale\)"),
    ],
)
def test_what_float32_does_not_hold_is_named(tmp_path: Path, setting: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        export(tmp_path / "m.onnx", tmp_path / "d.onnx", DynaNoise(**setting))
