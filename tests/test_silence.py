import logging
import os
import warnings

import pytest

from fritz_compress.silence import silenced


def test_nothing_reaches_standard_error(capfd):
    with silenced():
        os.write(2, b"from C++\n")
        logging.getLogger("anyone").warning("from Python")
        warnings.warn("not even an error of pytest", UserWarning)
    os.write(2, b"after\n")
    logging.getLogger("anyone").warning("logged")
    captured = capfd.readouterr()
    assert captured.err.splitlines()[0] == "after"
    assert "Python" not in captured.err


def test_exceptions_pass_and_everything_is_restored(capfd):
    with pytest.raises(RuntimeError, match="out"):
        with silenced():
            raise RuntimeError("out")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"
    assert logging.root.manager.disable == logging.NOTSET


def test_a_closed_standard_error(monkeypatch):
    with open(os.devnull, "w") as closed:
        pass
    monkeypatch.setattr("sys.__stderr__", closed)
    with silenced():
        done = True
    assert done
