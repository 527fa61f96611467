"""The library without extras, the public names, and what must not be in the source."""

from __future__ import annotations

import ast
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import dynanoise
from tests.factories import waiting

SOURCE = Path(dynanoise.__file__).parent


@pytest.mark.process
def test_the_defense_and_the_attacks_work_without_extras() -> None:
    code = """
        import sys
        class Missing:
            def find_spec(self, name, path=None, target=None):
                extras = ("torch", "matplotlib", "datasets", "pyarrow", "pandas", "PIL",
                          "transformers", "tokenizers", "numba")
                if name.split(".")[0] in extras:
                    raise ModuleNotFoundError(name)
        sys.meta_path.insert(0, Missing())
        import numpy as np
        import dynanoise as dn
        answer = dn.DynaNoise()(np.zeros((2, 3), np.float32), dn.Fresh(0))
        assert answer.shape == (2, 3)
        assert dn.DynaNoise()(np.zeros((2, 3), np.float32), dn.SystemFresh()).shape == (2, 3)
        from dynanoise.core.registry import ATTACKS, DATASETS
        from dataclasses import replace
        from dynanoise.evaluation.responses import observe_logits, observe_shadow_logits
        generator = np.random.default_rng(0)
        use = np.stack([generator.permutation([0, 0, 0, 1, 1, 1]) for _ in range(60)], axis=1)
        rows = generator.normal(0, 1, (6, 60, 2)) + 2.0 * use[:, :, None] * [1, 0]
        shadows = observe_shadow_logits(rows, [0] * 60, use)
        known = observe_logits(np.log([[0.5, 0.5]]), [0])
        own = tuple(replace(seen, population=known) for seen in shadows.observations)
        shadows = replace(shadows, observations=own)
        target = replace(observe_logits(rows[0], [0] * 60), population=known)
        for name in ATTACKS.names():
            if not (ATTACKS.get(name).needs_chosen_inputs or ATTACKS.get(name).needs_inputs):
                assert ATTACKS.get(name)().fit(shadows).score(target).shape == (60,)
        assert len(DATASETS.get("digits")()) == 1797
        assert len(DATASETS.get("breast_cancer")()) == 569
        from dynanoise.core.errors import MissingDataError, MissingExtraError
        for name in ("cifar10", "imagenet10", "sst2"):
            try:
                DATASETS.get(name)()
            except (MissingDataError, MissingExtraError):
                pass
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=waiting.LONG)


@pytest.mark.process
def test_importing_the_package_imports_no_dependency() -> None:
    code = "import dynanoise, sys; assert not {'numpy', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=waiting.LONG)


def test_public_names_are_there_and_others_are_not() -> None:
    for name in dynanoise.__all__:
        assert getattr(dynanoise, name) is not None
    assert set(dynanoise.__all__) <= set(dir(dynanoise))
    with pytest.raises(AttributeError, match="no attribute 'Dynanoise'"):
        dynanoise.Dynanoise  # noqa: B018


LONG = {
    "audits/inputs.py": "the arrays of an audit, with every doubt that they raise",
    "integrations/sklearn.py": "one classifier, with what scikit-learn asks of it",
}
"""Files of more than 500 lines that are one idea all the same."""


def test_no_file_is_long_and_none_uses_global_randomness_or_pickle() -> None:
    for path in SOURCE.rglob("*.py"):
        text = path.read_text()
        long = path.relative_to(SOURCE).as_posix() in LONG
        assert len(text.splitlines()) <= (600 if long else 500), path
        names = {
            ast.unparse(node)
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Attribute | ast.Import | ast.ImportFrom)
        }
        for name in names:
            assert not name.startswith(("import pickle", "from pickle", "import joblib")), path
            assert not name.startswith(("np.random.seed", "np.random.normal", "random.")), path


def test_audit_is_a_function_whatever_was_imported_before() -> None:
    import dynanoise.audits.estimator

    assert dynanoise.audit is dynanoise.audits.estimator.audit
    assert callable(dynanoise.audit) and "audit" in dynanoise.__all__


def test_the_root_holds_public_import_names_alone() -> None:
    names = {"__init__", "__main__", "sklearn", "torch", "transformers", "onnx"}
    assert {path.stem for path in SOURCE.glob("*.py")} == names


def test_the_typing_marker_ships() -> None:
    assert (SOURCE / "py.typed").exists()
