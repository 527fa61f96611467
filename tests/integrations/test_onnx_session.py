"""Sessions that feed exported graphs, or defend in Python what a graph says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from dynanoise.config.configuration import Configuration
from dynanoise.core.errors import DataFileError, InputError
from dynanoise.defenses.calibrated_label import CalibratedLabel
from dynanoise.defenses.dynanoise import DynaNoise
from dynanoise.defenses.temperature import Temperature
from dynanoise.noise.fresh import Fresh
from dynanoise.noise.keyed import Keyed
from tests.factories import onnx_models
from tests.factories.gateways import digest
from tests.factories.onnx_models import KINDS, floats, linear, node, onnx, save, tensor
from tests.factories.outputs import logit_arrays
from tests.factories.wrapper_noise import (
    DIGEST,
    SECRET,
    FixedNoise,
    holds_secret,
    in_threads,
    keyed,
)

pytest.importorskip("onnxruntime", reason="pip install 'dynanoise[onnx]'")

from dynanoise.onnx import DefendedSession, export

DEFENSE = DynaNoise(0.3, 2, 4, samples=2)
ROWS = np.linspace(-1, 1, 20, dtype=np.float32).reshape(5, 4) ** 3
LOGITS = ROWS @ onnx_models.WEIGHTS


def exported(folder: Path, defense: Any = DEFENSE) -> Path:
    export(linear(folder / "m.onnx"), folder / "d.onnx", defense)
    return folder / "d.onnx"


def test_it_supplies_the_normals_of_its_source(tmp_path: Path) -> None:
    found = DefendedSession(exported(tmp_path), Fresh(7))(ROWS)
    normals = Fresh(7).draw(np.zeros((5, 3)), 2, "")[1]
    np.testing.assert_allclose(found, DEFENSE(LOGITS, FixedNoise(normals)), atol=1e-6)
    assert found.dtype == np.float32


def test_noise_is_new_each_time_and_in_each_session(tmp_path: Path) -> None:
    path = exported(tmp_path)
    one, two = DefendedSession(path), DefendedSession(path)
    answers = [one(ROWS), one(ROWS), two(ROWS)]
    assert len({answer.tobytes() for answer in answers}) == 3


def test_the_noise_has_the_variance_that_the_defense_says(tmp_path: Path) -> None:
    """T (ln p_i - ln p_j) has variance 2 sigma^2; 20,000 draws know it to a hundredth."""
    single = DynaNoise(0.3, 2, 4)
    export(onnx_models.identity(tmp_path / "m.onnx"), tmp_path / "d.onnx", single)
    row = floats([2.0, 0.0, -1.0])
    logs = np.log(DefendedSession(tmp_path / "d.onnx", Fresh(0))(np.tile(row, (20_000, 1))))
    gaps = 4 * (logs[:, 0] - logs[:, 2])
    assert gaps.mean() == pytest.approx(3.0, abs=0.03)
    assert gaps.var() == pytest.approx(2 * single.variance(row), rel=0.03)


def test_batches_of_any_size_and_float64_inputs(tmp_path: Path) -> None:
    session = DefendedSession(exported(tmp_path, Temperature(4)))
    for count in (0, 1, 5):
        found = session(ROWS[:count].astype(np.float64))
        np.testing.assert_allclose(found, Temperature(4)(LOGITS[:count]), atol=1e-6)
    noisy = DefendedSession(exported(tmp_path))
    assert noisy(ROWS[:0]).shape == (0, 3) and noisy(ROWS[:1]).shape == (1, 3)


def test_who_asks_does_not_choose_the_noise(tmp_path: Path) -> None:
    session = DefendedSession(exported(tmp_path))
    chosen = {"x": ROWS, "noise": np.zeros((2, 5, 3), np.float32)}
    with pytest.raises(InputError, match="'noise' is none of the model"):
        session(chosen)


def test_several_inputs_go_by_name(tmp_path: Path) -> None:
    dims = ["batch", 3]
    source = save(
        tmp_path / "m.onnx",
        [node("Add", ["a", "b"], ["logits"])],
        [tensor("a", dims), tensor("b", dims)],
        [tensor("logits", dims)],
    )
    export(source, tmp_path / "d.onnx", Temperature(2))
    session = DefendedSession(tmp_path / "d.onnx")
    found = session({"a": LOGITS, "b": 2 * LOGITS})
    np.testing.assert_allclose(found, Temperature(2)(3 * LOGITS), atol=1e-6)
    with pytest.raises(InputError, match="The model has 2 inputs"):
        session(LOGITS)
    with pytest.raises(InputError, match="'b' is missing"):
        session({"a": LOGITS})


def test_keyed_noise_answers_outside_the_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DYNANOISE_KEY", SECRET)
    path = linear(tmp_path / "m.onnx")
    noise = Keyed(1.0, "m", DIGEST)
    defense = DynaNoise(keep_label=True)
    session = DefendedSession(path, noise, defense=defense)
    found = session(ROWS)
    # Beside a boundary the runtime's matrix product may round to the other side of it.
    np.testing.assert_array_equal(found, defense(onnx_models.run(path, x=ROWS), noise))
    np.testing.assert_array_equal(found, session(ROWS))
    assert not holds_secret(repr(session).encode()) and "env:DYNANOISE_KEY" in repr(session)


def test_a_configuration_says_it_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNANOISE_KEY", SECRET)
    path = linear(tmp_path / "m.onnx")
    noise = Keyed(2.0, "m", digest(path))
    Configuration(DEFENSE, noise, output="logits").write(tmp_path / "defense.yaml")
    session = DefendedSession.configured(path, tmp_path / "defense.yaml")
    np.testing.assert_array_equal(session(ROWS), DEFENSE(onnx_models.run(path, x=ROWS), noise))
    fresh = DefendedSession.configured(path, Configuration(DEFENSE, "fresh"))
    assert not np.array_equal(fresh(ROWS), fresh(ROWS))


def test_another_model_does_not_get_the_noise_of_a_configuration(tmp_path: Path) -> None:
    path, file = linear(tmp_path / "m.onnx"), tmp_path / "defense.yaml"
    config = Configuration(DEFENSE, Keyed(2.0, "m", DIGEST), output="logits")
    config.write(file)
    says = f"was written for other weights than .*m.onnx .* noise.weights: {digest(path)}"
    with pytest.raises(InputError, match=f"^defense.yaml {says}"):
        DefendedSession.configured(path, file)
    with pytest.raises(InputError, match=f"^The configuration {says}"):
        DefendedSession.configured(path, config)
    outside = tmp_path / "outside.onnx"  # its digest does not cover the weights
    onnx.save(onnx.load(path), outside, save_as_external_data=True, size_threshold=0)
    DefendedSession.configured(outside, config)


def test_any_defense_answers_outside_the_graph(tmp_path: Path) -> None:
    label = CalibratedLabel(np.array([0.5, 0.6, 0.7]))
    session = DefendedSession(linear(tmp_path / "m.onnx"), defense=label)
    np.testing.assert_array_equal(session(ROWS), label(LOGITS))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=logit_arrays(classes=3, largest=1e30, dtype=np.float32))
def test_outside_the_graph_answers_are_the_librarys_bit_for_bit(tmp_path: Path, rows: Any) -> None:
    path = tmp_path / "m.onnx"
    if not path.exists():
        onnx_models.identity(path)
    found = DefendedSession(path, keyed(), defense=DEFENSE)(rows)
    np.testing.assert_array_equal(found, DEFENSE(rows, keyed()))


def test_one_of_several_outputs_axes_and_probabilities(tmp_path: Path) -> None:
    nodes = [
        node("Softmax", ["logits"], ["probs"], axis=-1),
        node("Transpose", ["probs"], ["turned"], perm=[1, 0]),
    ]
    outputs = [tensor("logits", ["batch", 3]), tensor("turned", [3, "batch"])]
    path = linear(tmp_path / "m.onnx", *nodes, output=outputs)
    chosen = DefendedSession(path, defense=Temperature(2))  # the one of the declared kind
    np.testing.assert_allclose(chosen(ROWS), Temperature(2)(LOGITS), atol=1e-6)
    session = DefendedSession(
        path, defense=Temperature(2), output="turned", class_axis=0, input="probabilities"
    )
    np.testing.assert_allclose(session(ROWS).T, Temperature(2)(LOGITS), atol=1e-6)


def test_half_precision_is_answered_in_float32(tmp_path: Path) -> None:
    path = onnx_models.identity(tmp_path / "m.onnx", kind=KINDS.FLOAT16)
    rows = LOGITS.astype(np.float16)
    found = DefendedSession(path, keyed(), defense=DEFENSE)(rows)
    np.testing.assert_array_equal(found, DEFENSE(rows.astype(np.float32), keyed()))


def test_eight_threads_at_once(tmp_path: Path) -> None:
    graph = DefendedSession(exported(tmp_path))
    answers = in_threads(lambda _: graph(ROWS).tobytes())
    assert len(set(answers)) == len(answers)
    steady = DefendedSession(tmp_path / "m.onnx", keyed(), defense=DEFENSE)
    alone = steady(ROWS)
    assert all(np.array_equal(one, alone) for one in in_threads(lambda _: steady(ROWS)))


def test_graphs_that_draw_are_not_opened(tmp_path: Path) -> None:
    """Nor one that was written into an exported file afterwards."""
    path = exported(tmp_path)
    model = onnx.load(path)
    model.graph.node.append(node("RandomNormalLike", ["logits"], ["more"]))
    onnx.save(model, path)
    with pytest.raises(DataFileError, match="RandomNormalLike"):
        DefendedSession(path)
    random = linear(tmp_path / "r.onnx", node("Multinomial", ["logits"], ["drawn"]))
    with pytest.raises(DataFileError, match="Multinomial"):
        DefendedSession(random, defense=DEFENSE)


def test_wrong_uses_have_their_sentences(tmp_path: Path) -> None:
    path = exported(tmp_path)
    with pytest.raises(InputError, match="adds fresh noise; Keyed noise repeats"):
        DefendedSession(path, keyed())
    with pytest.raises(InputError, match="has a defense and one output already"):
        DefendedSession(path, defense=DEFENSE)
    with pytest.raises(InputError, match="has no defense in it"):
        DefendedSession(tmp_path / "m.onnx")
    with pytest.raises(InputError, match="noise is 0"):
        DefendedSession(path, 0)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="defense is 'dynanoise'"):
        DefendedSession(tmp_path / "m.onnx", defense="dynanoise")  # type: ignore[arg-type]
    session = DefendedSession(path)
    with pytest.raises(InputError, match=r"x has shape \(4,\)"):
        session(ROWS[0])
    with pytest.raises(InputError, match="does not take these inputs"):
        session(ROWS[:, :3])
    with pytest.raises(InputError, match="Values of x have dtype <U1, and the model takes float32"):
        session(np.full((5, 4), "a"))


def test_answers_that_are_not_finite_are_not_given(tmp_path: Path) -> None:
    rows = floats([[np.nan, 0, 0], [0, 0, 0]])
    source = onnx_models.identity(tmp_path / "m.onnx")
    export(source, tmp_path / "d.onnx", DEFENSE)
    with pytest.raises(InputError, match="not finite"):
        DefendedSession(tmp_path / "d.onnx")(rows)
    with pytest.raises(InputError, match="nan"):
        DefendedSession(source, defense=DEFENSE)(rows)


def test_a_class_that_a_graph_rules_out_stays_out(tmp_path: Path) -> None:
    export(onnx_models.identity(tmp_path / "m.onnx"), tmp_path / "d.onnx", DEFENSE)
    masked, *_ = DefendedSession(tmp_path / "d.onnx")(floats([[1, 0, -np.inf]]))
    assert masked[2] == 0
    assert abs(masked[:2].sum() - 1) < 1e-6


def test_what_onnx_runtime_cannot_run_is_said(tmp_path: Path) -> None:
    source = linear(tmp_path / "m.onnx", external=True)
    assert DefendedSession(source, defense=Temperature(1))(ROWS).shape == (5, 3)
    (tmp_path / "m.onnx.data").unlink()
    with pytest.raises(DataFileError, match="cannot be run by ONNX Runtime"):
        DefendedSession(source, defense=DEFENSE)
