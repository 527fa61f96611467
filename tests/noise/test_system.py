"""SystemFresh: standard normal, independent, of no seed, and without a state."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy import stats

from dynanoise.core.registry import NOISES
from dynanoise.noise.fresh import SystemFresh
from tests.factories.waiting import LONG


def test_draws_are_normal_and_as_many_as_asked_for() -> None:
    """More than are made at once, so that parts meet."""
    logits = np.ones((9000, 5))
    base, normals = SystemFresh().draw(logits, 3, "test")
    assert base is logits and normals.shape == (3, 9000, 5)
    assert stats.kstest(normals.ravel(), "norm").pvalue > 0.0005
    assert len(np.unique(normals)) == normals.size
    assert SystemFresh().draw(logits, 0, "test")[1].shape == (0, 9000, 5)


@pytest.mark.behaviour
def test_rows_classes_and_draws_are_independent() -> None:
    drawn = [SystemFresh().draw(np.zeros((2, 3)), 2, "test")[1].ravel() for _ in range(2000)]
    correlations = np.asarray(np.corrcoef(np.array(drawn).T))[np.triu_indices(12, 1)]
    assert np.abs(correlations).max() < 5.5 / np.sqrt(2000)


def test_no_two_answers_share_noise_nor_do_copies_or_threads() -> None:
    noise = SystemFresh()
    sources = [noise, noise, copy.deepcopy(noise), pickle.loads(pickle.dumps(noise)), SystemFresh()]
    with ThreadPoolExecutor(8) as pool:
        more = list(pool.map(lambda _: noise.draw(np.zeros(3), 1, "")[1], range(40)))
    draws = [source.draw(np.zeros(3), 1, "")[1] for source in sources] + more
    assert len(np.unique(draws)) == 3 * 45


def test_there_is_nothing_to_learn_from_the_object() -> None:
    noise = SystemFresh()
    assert repr(noise) == "SystemFresh()" and not hasattr(noise, "__dict__")
    assert not noise.repeatable and len(pickle.dumps(noise)) < 100
    assert NOISES.get("system") is SystemFresh
    with pytest.raises(TypeError):
        SystemFresh(0)  # type: ignore[call-arg]


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_after_a_fork_parent_and_child_have_other_noise() -> None:
    code = """
        import os
        import numpy as np
        import dynanoise as dn
        noise, defense = dn.SystemFresh(), dn.DynaNoise()
        rows = np.zeros((40_000, 10), np.float32)  # in threads, where there are several cores
        seen = {defense(rows, noise)[0].tobytes()}
        read, write = os.pipe()
        if os.fork() == 0:
            os.write(write, defense(rows, noise)[0].tobytes() + noise.key())
            os._exit(0)
        os.wait()
        child = os.read(read, 100)
        assert child[:40] not in seen and child[40:] != noise.key()
        assert defense(rows, noise)[0].tobytes() not in {child[:40], *seen}
        print("other")
    """
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        check=True,
        capture_output=True,
        text=True,
        timeout=LONG,
    )
    assert process.stdout == "other\n"
