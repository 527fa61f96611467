"""The torch wrapper gives what the library gives, and only that."""

from __future__ import annotations

import copy
import io
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch: Any = pytest.importorskip("torch", reason="pip install 'dynanoise[train]'")

from torch import nn  # noqa: E402

from dynanoise.config.configuration import Configuration  # noqa: E402
from dynanoise.core.errors import InputError, SecretError  # noqa: E402
from dynanoise.defenses.dynanoise import DynaNoise  # noqa: E402
from dynanoise.defenses.temperature import Temperature  # noqa: E402
from dynanoise.noise.fresh import Fresh  # noqa: E402
from dynanoise.noise.keyed import Keyed  # noqa: E402
from dynanoise.noise.keys import ExperimentKey  # noqa: E402
from dynanoise.torch import Defended, weights_digest  # noqa: E402
from tests.factories.outputs import logit_arrays  # noqa: E402
from tests.factories.wrapper_noise import SECRET, holds_secret, in_threads, keyed  # noqa: E402

HALF = (torch.float16, torch.bfloat16)


def network(seed: int = 0) -> Any:
    """A small classifier with buffers and dropout, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 3))
    return made.eval()


def inputs(rows: int = 5) -> Any:
    return torch.linspace(-3, 3, rows * 4).reshape(rows, 4)


class Several(nn.Module):
    """Returns logits among other things, in the container that it was told."""

    def __init__(self, make: Any) -> None:
        super().__init__()
        self.make = make
        self.training = False

    def forward(self, logits: Any) -> Any:
        return self.make(torch.full((1,), 7.0), logits)


@given(
    rows=logit_arrays(largest=1e30, dtype=np.float32),
    double=st.booleans(),
    keep_label=st.booleans(),
    by_key=st.booleans(),
    samples=st.integers(1, 3),
)
def test_answers_are_the_librarys_bit_for_bit(
    rows: Any, double: bool, keep_label: bool, by_key: bool, samples: int
) -> None:
    rows = rows.astype(np.float64) if double else rows
    defense = DynaNoise(samples=samples, keep_label=keep_label)
    noises = (keyed(), keyed()) if by_key else (Fresh(3), Fresh(3))
    found = Defended(nn.Identity().eval(), defense, noises[0])(torch.from_numpy(rows))
    expected = defense(rows, noises[1])
    assert found.dtype == (torch.float64 if double else torch.float32)
    np.testing.assert_array_equal(found.numpy(), expected)


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (lambda x: x[:, 0], {}),
        (lambda x: x[0], {}),
        (lambda x: x[:, 0].half(), {}),
        (lambda x: x.sum(), {}),
        (lambda x: x[:, 0], {"class_axis": 0}),
        (lambda x: {"logits": x[:, 0]}, {"output": "logits"}),
        (lambda x: (x, x[:, 0]), {"output": 1}),
        (lambda x: x[:, 0].sigmoid(), {"input": "probabilities"}),
    ],
    ids=["squeezed", "no batch", "half", "no axis", "axis 0", "named", "in a tuple", "sigmoid"],
)
def test_numbers_of_a_batch_are_never_taken_for_classes(make: Any, options: Any) -> None:
    class Squeezed(nn.Module):
        def forward(self, x: Any) -> Any:
            return make(x)

    defended = Defended(Squeezed().eval(), DynaNoise(), keyed(), **options)
    with pytest.raises(InputError, match=r"output has shape \[.*the two logits \[0, z\]"):
        defended(inputs())


@given(rows=logit_arrays(largest=1e4, dtype=np.float32), kind=st.sampled_from(HALF))
def test_half_precision_is_the_answer_in_float32_rounded_with_its_label(
    rows: Any, kind: Any
) -> None:
    logits = torch.from_numpy(rows).to(kind)
    found = Defended(nn.Identity().eval(), DynaNoise(), Fresh(1))(logits)
    expected = DynaNoise()(logits.float().numpy(), Fresh(1))
    assert found.dtype == kind
    # Two units in the last place of numbers up to 1: one by rounding, one for the label.
    np.testing.assert_allclose(found.float().numpy(), expected, atol=2 * torch.finfo(kind).eps)
    np.testing.assert_array_equal(found.float().numpy().argmax(-1), expected.argmax(-1))


@pytest.mark.parametrize("kind", HALF)
def test_labels_survive_half_precision_in_near_ties(kind: Any) -> None:
    rows = np.zeros((50, 40), np.float32)
    rows[np.arange(50), np.arange(50) % 40] = 1e-4
    probs = torch.from_numpy(Temperature()(rows))
    from dynanoise.integrations.torch import narrow_probs

    assert (probs.to(kind).float().numpy().argmax(-1) != rows.argmax(-1)).any()
    np.testing.assert_array_equal(
        narrow_probs(probs, kind).float().numpy().argmax(-1), rows.argmax(-1)
    )
    moved = narrow_probs(probs.T.contiguous(), kind, axis=0).float().numpy()
    np.testing.assert_array_equal(moved.argmax(0), rows.argmax(-1))


def test_classes_may_be_on_another_axis() -> None:
    maps = torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(0))
    found = Defended(nn.Identity().eval(), DynaNoise(), Fresh(0), class_axis=1)(maps)
    rows = np.moveaxis(maps.numpy(), 1, -1)
    np.testing.assert_array_equal(found.numpy(), np.moveaxis(DynaNoise()(rows, Fresh(0)), -1, 1))
    assert found.shape == maps.shape


def test_a_module_that_ends_in_a_softmax() -> None:
    rows = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    clean, ends = Defended(nn.Identity().eval(), Temperature(3), Fresh(0)), nn.Softmax(-1).eval()
    found = Defended(ends, Temperature(3), Fresh(0), input="probabilities")(rows)
    np.testing.assert_allclose(found.numpy(), clean(rows).numpy(), rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "output"),
    [
        (lambda loss, logits: (loss, logits), 1),
        (lambda loss, logits: [loss, logits], -1),
        (lambda loss, logits: {"loss": loss, "logits": logits}, "logits"),
        (lambda loss, logits: type("Output", (), {"logits": logits})(), "logits"),
    ],
)
def test_one_output_is_named_and_the_others_dropped(make: Any, output: Any) -> None:
    rows = torch.tensor([[1.0, 2.0]])
    found = Defended(Several(make), Temperature(1), Fresh(0), output=output)(rows)
    assert type(found) is torch.Tensor
    np.testing.assert_allclose(found.numpy(), rows.softmax(-1).numpy(), rtol=1e-6)


@pytest.mark.parametrize("output", [None, "score", 0, 2, 7, -9])
def test_an_output_that_is_not_there_is_refused_with_what_is(output: Any) -> None:
    several = Several(lambda loss, logits: {"loss": loss.long(), "logits": logits})
    with pytest.raises(InputError, match="dict with 'loss', 'logits'; output is"):
        Defended(several, Temperature(1), Fresh(0), output=output)(torch.zeros(1, 2))


@pytest.mark.parametrize("kind", [torch.int64, torch.float8_e5m2, torch.complex64])
def test_other_kinds_of_numbers_are_refused(kind: Any) -> None:
    with pytest.raises(InputError, match=f"one tensor of {kind}"):
        Defended(nn.Identity().eval(), Temperature(1), Fresh(0))(torch.zeros(1, 2).to(kind))


class Noisy(nn.Module):
    """Dropout that is active in evaluation mode."""

    def forward(self, rows: Any) -> Any:
        return nn.functional.dropout(rows, 0.5)


class Centred(nn.Module):
    """Rows without the mean of the batch, given by position or by name."""

    def forward(self, rows: Any, *, scale: Any = 1) -> Any:
        return (rows - rows.mean(dim=0)) * scale


def test_keyed_noise_is_not_put_on_logits_that_change() -> None:
    """One record shows a change from call to call, two show a change with the batch."""
    rows = inputs(6)
    with pytest.raises(InputError, match="changes with the records beside it, or from call to"):
        Defended(Noisy().eval(), DynaNoise(), keyed())(rows[:1].repeat(1, 20))
    centred = Defended(Centred().eval(), DynaNoise(), keyed())
    centred(rows[:1])
    for arguments, named in (([rows], {}), ([], {"rows": rows, "scale": rows})):
        for _ in range(2):
            with pytest.raises(InputError, match="changes with the records beside it"):
                centred(*arguments, **named)
    Defended(Noisy().eval(), DynaNoise(), Fresh(0))(rows)
    statistics = nn.BatchNorm1d(4, track_running_stats=False).eval()
    with pytest.raises(InputError, match="BatchNorm1d without running statistics"):
        Defended(statistics, DynaNoise(), Fresh(0))(rows)


def test_a_module_of_a_fixed_batch_and_one_that_agrees_are_queried_once_more() -> None:
    class Fixed(nn.Module):
        calls = 0

        def forward(self, rows: Any) -> Any:
            assert len(rows) == 6
            self.calls += 1
            return rows

    fixed, free = Fixed().eval(), nn.Identity().eval()
    calls: list[int] = []
    free.register_forward_hook(lambda _, given, __: calls.append(len(given[0])))
    for _ in range(3):
        Defended(free, DynaNoise(), Fresh(0))(inputs(1))
    calls.clear()
    defended, free_defended = (Defended(part, DynaNoise(), keyed()) for part in (fixed, free))
    for _ in range(3):
        defended(inputs(6))
        free_defended(inputs(1))
    for _ in range(2):
        free_defended(inputs(7))
    assert fixed.calls == 4 and calls == [1, 1, 1, 1, 7, 4, 7]


def test_answers_carry_no_gradient_and_need_evaluation_mode() -> None:
    module = network()
    defended = Defended(module, DynaNoise(), Fresh(0))
    asked = inputs().requires_grad_()
    assert not defended(asked).requires_grad
    assert not defended.training
    for train in (defended.train, module.train, module[2].train):
        defended.eval()
        train()
        before = module[1].running_mean.clone()
        with pytest.raises(InputError, match="training mode"):
            defended(asked)
        assert torch.equal(before, module[1].running_mean)
    assert not defended.eval().module.training
    defended(asked)
    assert Defended(network().train(), DynaNoise(), Fresh(0)).training


def test_the_state_is_the_wrapped_modules() -> None:
    module, other = network(0), network(1)
    defended = Defended(module, DynaNoise(), Fresh(0))
    state = defended.state_dict()
    assert list(state) == list(module.state_dict())
    assert state._metadata == module.state_dict()._metadata
    other.load_state_dict(state)
    assert torch.equal(other(inputs()), module(inputs()))
    fresh = network(2)
    Defended(fresh, DynaNoise(), Fresh(0)).load_state_dict(module.state_dict())
    assert torch.equal(fresh(inputs()), module(inputs()))
    with pytest.raises(RuntimeError, match=r'Unexpected key.*"surplus"'):
        defended.load_state_dict({**state, "surplus": torch.zeros(1)})
    with pytest.raises(RuntimeError, match="Missing key"):
        defended.load_state_dict({})


def test_the_state_is_the_same_inside_another_module() -> None:
    plain: Any = nn.Sequential(nn.Linear(4, 4), network(0))
    around: Any = nn.Sequential(nn.Linear(4, 4), Defended(network(1), DynaNoise(), Fresh(0))).eval()
    assert list(around.state_dict()) == list(plain.state_dict())
    around.load_state_dict(plain.state_dict())
    assert torch.equal(around[1].module(inputs()), plain[1](inputs()))
    with pytest.raises(RuntimeError, match="Missing key"):
        around.load_state_dict(dict(list(plain.state_dict().items())[:-1]))
    with pytest.raises(RuntimeError, match="Unexpected key"):
        around.load_state_dict({**plain.state_dict(), "1.surplus": torch.zeros(1)})


def test_a_module_whose_part_is_called_module() -> None:
    inner: Any = nn.Sequential()
    inner.add_module("module", nn.Linear(4, 3))
    around: Any = nn.Sequential(Defended(copy.deepcopy(inner), DynaNoise(), Fresh(0)))
    around.load_state_dict({f"0.{name}": value for name, value in inner.state_dict().items()})
    assert torch.equal(around[0].module.module.weight, inner.module.weight)


def test_copies_share_the_noise_and_do_not_repeat_it() -> None:
    defended = Defended(network(), DynaNoise(), Fresh(0))
    for other in (copy.deepcopy(defended), copy.copy(defended)):
        assert other.noise is defended.noise
        assert not torch.equal(other(inputs()), defended(inputs()))


def test_nothing_saved_or_shown_holds_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNANOISE_KEY", SECRET)
    defended = Defended.keyed(network(), DynaNoise(), cell_width=4.0, model="m")
    before = defended(inputs())
    for thing in (defended, defended.state_dict()):
        file = io.BytesIO()
        torch.save(thing, file)
        assert not holds_secret(file.getvalue())
    assert not holds_secret(repr(defended).encode()) and "env:DYNANOISE_KEY" in repr(defended)
    whole = io.BytesIO()
    torch.save(defended, whole)
    again = torch.load(io.BytesIO(whole.getvalue()), weights_only=False)
    assert torch.equal(again(inputs()), before)
    monkeypatch.delenv("DYNANOISE_KEY")
    with pytest.raises(SecretError, match="is not set"):
        again(inputs())


def test_the_state_of_fresh_noise_is_not_pickled() -> None:
    defended = Defended(network(), DynaNoise(), Fresh(0))
    with pytest.raises(InputError, match="gives away the noise"):
        torch.save(defended, io.BytesIO())
    torch.save(defended.state_dict(), io.BytesIO())


def test_without_a_source_the_operating_system_seeds_each_answer() -> None:
    defended = Defended(network(), DynaNoise(), None)
    file = io.BytesIO()
    torch.save(defended, file)
    again = torch.load(io.BytesIO(file.getvalue()), weights_only=False)
    answers = {one(inputs()).numpy().tobytes() for one in (defended, defended, again)}
    assert len(answers) == 3 and "noise of the operating system" in repr(defended)


def test_a_configuration_says_it_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNANOISE_KEY", SECRET)
    module, noise = network(), Keyed(4.0, "m", weights_digest(network()))
    said = Configuration(DynaNoise(keep_label=True), noise, output="logits", class_axis=1)
    said.write(tmp_path / "defense.yaml")
    several = Several(lambda _, rows: {"logits": module(rows)})
    expected = DynaNoise(keep_label=True)(module(inputs()).detach().numpy(), noise)
    for told in (said, tmp_path / "defense.yaml", str(tmp_path / "defense.yaml")):
        np.testing.assert_array_equal(
            Defended.configured(several, told)(inputs()).numpy(), expected
        )
    fresh = Defended.configured(module, Configuration(DynaNoise(), "fresh"))
    assert not torch.equal(fresh(inputs()), fresh(inputs()))


def test_keyed_noise_follows_the_weights() -> None:
    key = ExperimentKey(0)
    module = network(0)
    defended = Defended.keyed(module, DynaNoise(), cell_width=4.0, model="m", key=key)
    assert "00" * 32 not in repr(defended)
    first = defended(inputs())
    assert defended.noise == Keyed(4.0, "m", weights_digest(module), key)
    assert torch.equal(defended(inputs()), first)
    defended.load_state_dict(network(1).state_dict())
    assert defended.noise == Keyed(4.0, "m", weights_digest(network(1)), key)
    around: Any = nn.Sequential(defended)
    around.load_state_dict(nn.Sequential(network(2)).state_dict())
    assert defended.noise == Keyed(4.0, "m", weights_digest(network(2)), key)
    around.load_state_dict(nn.Sequential(network(0)).state_dict())
    assert torch.equal(defended(inputs()), first)


@pytest.mark.parametrize("around", [lambda one: one, nn.Sequential])
def test_keyed_noise_follows_the_precision(around: Any) -> None:
    """Replicas that were wrapped before and after agree on which model it is."""
    key = ExperimentKey(0)
    defended = Defended.keyed(network(), DynaNoise(), cell_width=4.0, model="m", key=key)
    defended(inputs())
    around(defended).double()
    assert defended.noise == Keyed(4.0, "m", weights_digest(network().double()), key)
    around(defended).float().to("cpu")
    assert defended.noise == Keyed(4.0, "m", weights_digest(network()), key)


def test_an_answer_while_weights_are_loaded_does_not_keep_the_old_digest() -> None:
    class Slow(nn.Linear):
        def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
            defended(inputs())  # as another thread may
            return super().load_state_dict(*args, **kwargs)

    new = {name: value + 1 for name, value in Slow(4, 3).state_dict().items()}
    key = ExperimentKey(0)
    defended = Defended.keyed(Slow(4, 3).eval(), DynaNoise(), cell_width=4.0, model="m", key=key)
    defended.load_state_dict(new)
    assert defended.noise == Keyed(4.0, "m", weights_digest(defended.module), key)


def test_eight_threads_at_once() -> None:
    rows = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    one = Defended.keyed(
        nn.Identity().eval(), DynaNoise(), cell_width=2.0, model="m", key=ExperimentKey(0)
    )
    found = torch.cat(in_threads(lambda i: one(rows[i : i + 1])))
    assert torch.equal(found, one(rows))
    fresh = Defended(nn.Identity().eval(), DynaNoise(), Fresh(0))
    answers = in_threads(lambda i: fresh(rows[:1]).numpy().tobytes())
    assert len(set(answers)) == len(answers)
    assert threading.active_count() < 8


@pytest.mark.behaviour
def test_the_noise_is_not_traced() -> None:
    defended = Defended(network(), DynaNoise(), Fresh(0))
    for record in (
        lambda: torch.jit.trace(defended, inputs()),
        lambda: torch.export.export(defended, (inputs(),)),
        lambda: torch.compile(defended, backend="eager")(inputs()),
    ):
        with pytest.raises(InputError, match="would hold the noise of the trace"), _deprecated():
            record()


def _deprecated() -> Any:
    """torch.jit warns that it will go."""
    import contextlib
    import warnings

    @contextlib.contextmanager
    def ignored() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield

    return ignored()


def test_modules_that_were_compiled_exported_or_frozen_can_be_wrapped() -> None:
    module = network()
    expected = Temperature(2)(module(inputs()).detach().numpy())
    with _deprecated():
        exported = torch.export.export(module, (inputs(),)).module()
        frozen = torch.jit.freeze(torch.jit.script(module))
        for wrapped in (exported, frozen, torch.compile(module, backend="eager")):
            found = Defended(wrapped, Temperature(2), Fresh(0))(inputs())
            np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"module": "net"}, "module is of type str"),
        ({"defense": "dynanoise"}, "defense is 'dynanoise'"),
        ({"defense": DynaNoise}, "defense is <class"),
        ({"noise": 0}, "noise is 0"),
        ({"output": True}, "output is True"),
        ({"output": 1.5}, "output is 1.5"),
        ({"class_axis": "last"}, "class_axis is 'last'"),
        ({"input": "probs"}, "input is 'probs'"),
    ],
)
def test_wrong_arguments_are_named(arguments: Any, said: str) -> None:
    usual = {"module": network(), "defense": DynaNoise(), "noise": Fresh(0)}
    with pytest.raises(InputError, match=said):
        Defended(**(usual | arguments))


def test_logits_that_are_not_finite_are_refused() -> None:
    with pytest.raises(InputError, match="nan"):
        Defended(nn.Identity().eval(), DynaNoise(), Fresh(0))(torch.tensor([[0.0, torch.nan]]))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", [torch.float32, torch.float64, *HALF])
def test_answers_of_a_module_on_cuda_stay_there(kind: Any) -> None:
    rows = torch.randn(6, 5, generator=torch.Generator().manual_seed(0)).to(kind)
    defended = Defended(nn.Identity().eval(), DynaNoise(), keyed()).cuda()
    found = defended(rows.cuda())
    assert found.device.type == "cuda" and found.dtype == kind
    assert torch.equal(found.cpu(), defended(rows))
    module = network()
    assert weights_digest(module) == weights_digest(copy.deepcopy(module).cuda())
