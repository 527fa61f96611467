"""Progress of long work in notebooks."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from dynanoise.report.progress import progress_bar


def test_a_notebook_shows_a_bar_without_ipywidgets_and_removes_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown: list[str] = []
    handle = SimpleNamespace(update=shown.append)
    module = SimpleNamespace(HTML=str, display=lambda html, display_id: handle)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(display=module))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    with progress_bar("audit", 3) as steps:
        steps("one")
        steps.expect(1)
        steps("<b>two</b>")
    first, second, last = shown
    assert 'value="1" max="3"' in first and "1/3" in first and first.endswith("done: one")
    assert "2/4" in second and "&lt;b&gt;two" in second
    assert last == ""
    assert capsys.readouterr() == ("", "")
