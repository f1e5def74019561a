"""Files of strangers: an error that says what is wrong, soon and small."""

import json
import time
import tracemalloc

import corruptions
import keras
import numpy as np
import pytest
from keras import layers
from storage_models import (
    arrays,
    config_of,
    made_up,
    same_weights,
    signed,
    small_model,
)

from fritz_compress import load_compressed, save_compressed
from fritz_compress.ops.bitstream import varint
from fritz_compress.storage import container

SECONDS = 1.0
MEGABYTES = 200


@pytest.fixture(name="file", scope="module")
def stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("stored") / "small.fcz"
    save_compressed(small_model(), path)
    # What Keras and the decoder set up once is no cost of a file.
    load_compressed(path)
    return path


def refused(data, message, tmp_path):
    """Whether a file is refused with a message, in time and memory."""
    path = tmp_path / "hostile.fcz"
    path.write_bytes(data)
    tracemalloc.start()
    start = time.process_time()
    try:
        with pytest.raises(ValueError, match=message) as caught:
            load_compressed(path)
        seconds = time.process_time() - start
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert str(caught.value).startswith(f"'{path}' can not be loaded: ")
    assert len(str(caught.value)) < 600
    assert peak < MEGABYTES * 1e6
    # tracemalloc slows Python down about four times.
    assert seconds < 4 * SECONDS


def test_cut_files(file, tmp_path):
    data = file.read_bytes()
    for length in range(0, len(data), 37):
        refused(data[:length], "not start as|ends after|checksum", tmp_path)
    refused(data + b"\0", "checksum is wrong", tmp_path)


def test_each_byte_counts(file, tmp_path):
    data = file.read_bytes()
    for place in range(0, len(data), 29):
        changed = bytearray(data)
        changed[place] ^= 1 << place % 8
        message = "checksum|version|does not start"
        refused(bytes(changed), message, tmp_path)


def test_other_files(tmp_path):
    refused(b"PK\3\4" + bytes(100), "does not start as a file of", tmp_path)
    refused(b"FCZ\2" + bytes(100), "version 2 .* reads version 1", tmp_path)


def head(*parts):
    """A file with the right checksum: varints for numbers."""
    body = b"".join(
        part if isinstance(part, bytes) else varint(part) for part in parts
    )
    return signed(b"FCZ\1" + bytes(8) + body)


def weight_of(*shape, dtype=0, coding=0, size=0):
    return [bytes([dtype, coding]), len(shape), *shape, size]


TERABYTE = 2**40
SIZES = {
    "architecture": ([TERABYTE, 0], "1099511627776 bytes long"),
    "deflated": ([5, TERABYTE], "1099511627776 bytes expected"),
    "weights": ([2, 4, b"\x8b\x8e\5\0", TERABYTE], "1099511627776 weights"),
    "missing": ([2, 4, b"\x8b\x8e\5\0", 9], "1 bytes expected, 0 left"),
}


@pytest.mark.parametrize("name", SIZES)
def test_declared_sizes(name, tmp_path):
    parts, message = SIZES[name]
    refused(head(*parts), message, tmp_path)


WEIGHTS = {
    "terabytes": (weight_of(2**20, 2**20), "would take 4398046511104 bytes"),
    "a long axis": (weight_of(0, 2**40), r"has shape \(0, 1099511627776\)"),
    "axes": (weight_of(*[1] * 17), "17 axes, of 16 at most"),
    "type": (weight_of(3, dtype=15), "unknown type 15"),
    "payload": (weight_of(3, size=TERABYTE), "1099511627776 bytes expected"),
    "rest": ([*weight_of(3, size=1), b"ab"], "after the last weight"),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_declared_weights(name, tmp_path):
    parts, message = WEIGHTS[name]
    text = container.write("{}", [])[12:-1]
    refused(head(text, 1, *parts), message, tmp_path)


def test_bombs(tmp_path):
    """Zeros that would fill gigabytes, in few bytes."""
    size = 2**30
    gaps = b"\0\0"  # No number, in no bytes.
    parts = weight_of(size, coding=16, size=2)
    text = container.write("{}", [])[12:-1]
    refused(head(text, 1, *parts, gaps), "would take 4294967296", tmp_path)
    text = " " * 2**22
    refused(made_up(text, []), "is no JSON", tmp_path)
    longer = bytearray(container.write(text, []))
    assert longer[12:16] == varint(2**22)
    longer[15] += 1
    refused(signed(bytes(longer)), "bytes long; at most", tmp_path)


def test_zeros_that_fill_memory_need_a_larger_file(tmp_path, monkeypatch):
    """What the limit would refuse is written so that it does not."""
    monkeypatch.setattr(container, "FREE_BYTES", 1000)
    monkeypatch.setattr(container, "LARGEST_EXPANSION", 4)
    model = keras.Sequential([keras.Input((64,)), layers.Dense(64)])
    model.layers[0].kernel.assign(np.zeros((64, 64)))
    path = tmp_path / "zeros.fcz"
    save_compressed(model, path)
    # 4,160 numbers of 4 bytes, of which 1,000 are free.
    assert path.stat().st_size == 15_640 / 4
    assert same_weights(model, load_compressed(path))
    refused(signed(path.read_bytes()[:-1]), "would take 16640", tmp_path)


JSONS = {
    "empty": ("", "no JSON"),
    "list": ("[]", "not that of a model"),
    "deep list": ("[" * 140000 + "]" * 140000, "more than 131072 objects"),
    "deeper than Python": ("[" * 9000 + "]" * 9000, "recursion|nested"),
    "deep": ('{"a":' * 200 + "1" + "}" * 200, "deeper than 128"),
    "many": ("[" + "{}," * 10**6 + "1]", "more than 131072 objects"),
    "pickle": ("\x80\x04cos\nsystem\n", "ASCII|JSON"),
    "letters": ('"caf\u00e9"', "ASCII"),
    "no name": ('{"class_name": 3, "config": {}}', "class without a name"),
    "no layers": (
        '{"class_name": "Sequential", "module": "keras", "config": {}}',
        "can not be built",
    ),
    "no model": (
        '{"class_name": "ReLU", "module": "keras.layers", "config": {}}',
        "a ReLU is no model",
    ),
}


@pytest.mark.parametrize("name", JSONS)
def test_architectures_that_are_none(name, tmp_path):
    text, message = JSONS[name]
    if text.isascii():
        refused(made_up(text, []), message, tmp_path)
        return
    with pytest.raises(UnicodeEncodeError):
        made_up(text, [])


def dense(config=None, **changes):
    """The configuration of the small model, its last layer changed."""
    whole = config_of(small_model())
    layer = whole["config"]["layers"][-1]
    layer.update(changes)
    layer["config"].update(config or {})
    return whole


LAYERS = {
    "10**9 units": (dense({"units": 10**9}), r"shape \(16, 1000000000\)"),
    "10**18 units": (dense({"units": 10**18}), "weight 4 of its arch"),
    "negative": (dense({"units": -1}), "can not be built"),
    "text": (dense({"units": "../../etc/passwd"}), "can not be built"),
    "os": (dense(module="os", class_name="system"), "class 'system' of"),
    "path": (dense(module="../evil", class_name="A"), "module '../evil'"),
    "no module": (dense(module=None), "of module None"),
    "lambda": (dense(class_name="Lambda"), "Python code in it"),
    "marshalled": (
        dense({"activation": {"class_name": "__lambda__", "config": {}}}),
        "Python code in it",
    ),
    "registered": (
        dense(module="x", registered_name="x>Evil"),
        "needs the class 'x>Evil'",
    ),
    "own, unknown": (
        dense(
            module="fritz_compress.layers.none",
            registered_name="fritz_compress>None",
        ),
        "can not be built",
    ),
    "own, elsewhere": (
        dense(
            module="fritz_compress.cli.main",
            registered_name="fritz_compress>main",
        ),
        "can not be built",
    ),
    "load_model": (
        dense(module="keras.saving", class_name="load_model"),
        "can not be built",
    ),
    "saved model": (dense(class_name="TFSMLayer"), "code that is not Keras'"),
    "vocabulary": (
        dense({"vocabulary": "/etc/passwd"}, class_name="StringLookup"),
        "has a vocabulary",
    ),
    "type": (dense({"dtype": "float16"}), "float16, but .* float32 is stored"),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_that_do_not_belong(name, tmp_path):
    config, message = LAYERS[name]
    refused(made_up(config, arrays(small_model())), message, tmp_path)


def test_weights_that_do_not_fit(tmp_path):
    model = small_model()
    weights = arrays(model)
    config = config_of(model)
    refused(made_up(config, weights[:-1]), "has 6 weights, but 5", tmp_path)
    weights[0] = weights[0][:2]
    refused(made_up(config, weights), "weight 0 of its architec", tmp_path)


def test_a_weight_that_is_read_while_it_is_built(tmp_path):
    model = keras.Sequential([keras.Input((4,)), layers.Normalization()])
    text = json.dumps(config_of(model)).replace("4]", f"{10**9}]")
    refused(made_up(text, arrays(model)), "is read while", tmp_path)


def test_a_wrong_payload_is_named(file, tmp_path):
    data = file.read_bytes()
    at = data.index(bytes([0, 3, 2, 64, 16]))  # hidden/kernel: a codebook
    changed = bytearray(data)
    changed[at + 1] = 4
    message = "weight 2 is damaged: "
    refused(signed(bytes(changed)), message, tmp_path)


def test_nothing_is_left_behind_by_a_refused_file(file, tmp_path):
    """Variables that were never made must not be made by later work."""
    config = LAYERS["10**9 units"][0]
    refused(made_up(config, arrays(small_model())), "1000000000", tmp_path)
    with keras.StatelessScope():
        pass  # Keras makes here all variables that it was asked for.
    assert same_weights(load_compressed(file), small_model())


@pytest.mark.slow
def test_random_corruptions():
    """500 here; the command does 20,000."""
    results = corruptions.run(500, seed=1)
    assert sum(result.files for result in results) == 500
    for result in results:
        assert not result.wrong and not result.crashed
    damaged, signed_again = results
    assert damaged.loaded == 0 < damaged.files
    assert signed_again.files > 100
