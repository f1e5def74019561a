"""Sweeps that are killed, and go on."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from sensitivity_models import FRACTIONS, CountedErrors, data, pointwise_model

from fritz_compress.analysis import sensitivity, sweep

# Of 'first' and 'second', and one of the model as it is.
EVALUATIONS = 2 * len(FRACTIONS) + 1


def run(evaluate, file, **arguments):
    return sensitivity(
        arguments.pop("model", None) or pointwise_model(),
        evaluate=evaluate,
        metric="mae",
        **{"fractions": FRACTIONS, "resume_file": file, **arguments},
    )


def test_a_finished_sweep_is_read_not_repeated(tmp_path):
    evaluate = CountedErrors()
    table = run(evaluate, tmp_path / "sweep.jsonl")
    assert evaluate.calls == EVALUATIONS
    assert run(evaluate, tmp_path / "sweep.jsonl") == table
    assert evaluate.calls == EVALUATIONS
    assert table == run(CountedErrors(), None)


def test_an_interrupted_sweep_goes_on_where_it_was(tmp_path):
    file = tmp_path / "sweep.jsonl"
    with pytest.raises(InterruptedError):
        run(CountedErrors(fail_after=3), file)
    evaluate, reports = CountedErrors(), []
    table = run(evaluate, file, on_point=lambda *r: reports.append(r[:2]))
    assert evaluate.calls == EVALUATIONS - 3
    # The first evaluation was that of the model as it is.
    assert reports == [(n, 6) for n in (3, 4, 5, 6)]
    assert table == run(CountedErrors(), None)


def test_more_fractions_and_another_metric_need_only_what_is_new(tmp_path):
    file = tmp_path / "sweep.jsonl"
    run(CountedErrors(), file)
    evaluate = CountedErrors()
    table = run(evaluate, file, fractions=(0.5, 0.75))
    assert evaluate.calls == 2
    assert table.fractions == (0.5, 0.75)


@pytest.mark.slow
def test_a_sweep_killed_in_the_middle_goes_on_in_another_process(tmp_path):
    file = tmp_path / "sweep.jsonl"
    code = f"""
from sensitivity_models import *
from fritz_compress.analysis import sensitivity
sensitivity(pointwise_model(), evaluate=CountedErrors(pause=0.5), metric="mae",
            fractions={FRACTIONS}, resume_file={str(file)!r})
"""
    tests = os.path.dirname(os.path.dirname(__file__))
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tests)
    deadline = time.monotonic() + 120
    while not file.exists() or file.read_bytes().count(b"\n") < 4:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    measured = file.read_bytes().count(b"\n") - 1
    assert 3 <= measured < EVALUATIONS
    evaluate = CountedErrors()
    table = run(evaluate, file)
    assert evaluate.calls == EVALUATIONS - measured
    assert table == run(CountedErrors(), None)


@pytest.mark.parametrize("left", [1, 20, 0.5])
def test_a_torn_last_line_is_measured_again(tmp_path, left):
    file = tmp_path / "sweep.jsonl"
    table = run(CountedErrors(), file)
    lines = file.read_bytes().splitlines(keepends=True)
    length = int(left if left >= 1 else left * len(lines[-1]))
    file.write_bytes(b"".join(lines[:-1]) + lines[-1][:length])
    evaluate = CountedErrors()
    assert run(evaluate, file) == table
    assert evaluate.calls == 1
    assert file.read_bytes().splitlines(keepends=True) == lines


@pytest.mark.parametrize("length", [0, 1, 100])
def test_a_torn_first_line_begins_anew(tmp_path, length):
    file = tmp_path / "sweep.jsonl"
    run(CountedErrors(), file)
    whole = file.read_bytes()
    file.write_bytes(whole[:length])
    evaluate = CountedErrors()
    run(evaluate, file)
    assert evaluate.calls == EVALUATIONS
    assert file.read_bytes() == whole


def other_weights():
    model = pointwise_model()
    kernel, bias = model.get_layer("first").get_weights()
    model.get_layer("first").set_weights([kernel * 2, bias])
    return model


def other_metrics():
    model = pointwise_model()
    model.compile("adam", "mae", metrics=["mae"])
    return model


X, Y = data()
OTHER = {
    "weights": (dict(model=other_weights), "other weights"),
    "criterion": (dict(criterion="l2"), "other criterion"),
    "kind": (dict(kind="weights"), "other criterion"),
    "metrics": (dict(model=other_metrics), "other metrics"),
    "data": (dict(x=X + 1), "other data"),
    "targets": (dict(y=np.zeros_like(Y)), "other data"),
    "function": (
        dict(x=None, y=None, evaluate=CountedErrors()),
        "metrics and data",
    ),
}


@pytest.mark.parametrize("case", OTHER)
def test_a_file_of_another_sweep_is_refused_and_left_alone(tmp_path, case):
    file = tmp_path / "sweep.jsonl"
    arguments = {"x": X, "y": Y, "fractions": [0.5], "resume_file": file}
    sensitivity(pointwise_model(), **arguments)
    before = file.read_bytes()
    changes, message = OTHER[case]
    arguments = {**arguments, **changes}
    model = arguments.pop("model", pointwise_model)()
    with pytest.raises(ValueError, match=f"holds a sweep with .*{message}"):
        sensitivity(model, **arguments)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [
        b"important notes",
        b"important notes\n",
        b'{"sweep": "sensitivity"}\n',
        b'{"sweep": "sensitivity", "settings": [1]}\n',
        b"\xff\xfe\n",
    ],
)
def test_a_file_that_is_no_sweep_is_refused_and_left_alone(tmp_path, content):
    file = tmp_path / "notes.txt"
    file.write_bytes(content)
    evaluate = CountedErrors()
    with pytest.raises(ValueError, match="notes.txt' exists and is not a swe"):
        run(evaluate, file)
    assert file.read_bytes() == content and evaluate.calls == 0


@pytest.mark.parametrize(
    "line",
    [
        b"important notes",
        b"[1]",
        b'{"layer": "first", "fraction": "half", "metrics": {}}',
        b'{"layer": "first", "fraction": 0.5, "metrics": null}',
        b'{"layer": [], "fraction": 0.5, "metrics": {}}',
        b"\xff\xfe",
    ],
)
def test_a_damaged_line_is_named_and_left_alone(tmp_path, line):
    file = tmp_path / "sweep.jsonl"
    run(CountedErrors(), file)
    lines = file.read_bytes().splitlines()
    lines[2] = line
    content = b"\n".join(lines) + b"\n"
    file.write_bytes(content)
    evaluate = CountedErrors()
    message = "Line 3 of `resume_file` .*sweep.jsonl' is damaged. .*Remove the"
    with pytest.raises(ValueError, match=message):
        run(evaluate, file)
    assert file.read_bytes() == content and evaluate.calls == 0


def test_a_folder_in_place_of_a_file_is_refused(tmp_path):
    evaluate = CountedErrors()
    message = "`resume_file` must be a file. Received: the folder .*Pass a fi"
    with pytest.raises(ValueError, match=message):
        run(evaluate, tmp_path)
    assert evaluate.calls == 0 and not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_named(tmp_path):
    evaluate = CountedErrors()
    with pytest.raises(ValueError, match="Create '.*no' first"):
        run(evaluate, tmp_path / "no" / "sweep.jsonl")
    assert evaluate.calls == 0


def test_each_measurement_is_on_disk_at_once(tmp_path, monkeypatch):
    synced = []
    real = os.fsync

    def fsync(descriptor):
        real(descriptor)
        synced.append((tmp_path / "sweep.jsonl").read_bytes())

    monkeypatch.setattr(os, "fsync", fsync)
    with sweep.opened(tmp_path / "sweep.jsonl", {"weights": "a"}) as found:
        found.add((None, 0.0), {"loss": 1.5})
        found.add(("first", 0.5), {"loss": float("nan")})
    assert [content.count(b"\n") for content in synced] == [1, 2, 3]
    with sweep.opened(tmp_path / "sweep.jsonl", {"weights": "a"}) as found:
        assert found.measured[None, 0.0] == {"loss": 1.5}
        assert np.isnan(found.measured["first", 0.5]["loss"])
    first = json.loads(synced[0])
    assert first == {"sweep": "sensitivity", "settings": {"weights": "a"}}
