import sys

from ssinfnet.work import progress


def test_every_item_passes_in_order_and_short_work_stays_silent(capsys):
    assert list(progress.track([3, 1, 2], "counting")) == [3, 1, 2]
    assert capsys.readouterr().err == ""


def test_long_work_says_plain_lines_where_nobody_watches(capsys, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", -1.0)
    list(progress.track("ab", "reading"))
    list(progress.track(iter("c"), "streaming"))
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["reading: 1 of 2", "reading: 2 of 2", "streaming: 1"]


def test_a_terminal_gets_a_bar(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert list(progress.track(range(3), "scoring")) == [0, 1, 2]
    assert "scoring" in capsys.readouterr().err


def test_a_batch_run_is_not_taken_for_a_person(monkeypatch):
    class Shell:
        config = {"IPKernelApp": {}}

    class IPython:
        get_ipython = staticmethod(Shell)

    monkeypatch.setitem(sys.modules, "IPython", IPython)
    monkeypatch.delenv(progress.BATCH_VARIABLE, raising=False)
    assert progress.in_jupyter()
    monkeypatch.setenv(progress.BATCH_VARIABLE, "1")
    assert not progress.in_jupyter()
