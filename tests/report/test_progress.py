"""Progress of long work in notebooks and log files."""

from __future__ import annotations

import sys
import time
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


def test_a_log_file_gets_a_line_at_the_beginning_and_one_a_minute(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with progress_bar("digits", 4) as steps:
        for seconds, step in ((30.0, "none"), (80.0, "static"), (100.0, "hamp")):
            now[0] = seconds
            steps(step)
        steps.expect(2)
        now[0] = 200.0
        steps("selena")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "Running digits: 4 steps.",
        "Running digits: 2/4 after 0:01:20, done: static",
        "Running digits: 4/6 after 0:03:20, done: selena",
    ]
