"""Random corruptions of a packed file: none may load wrongly or crash.

    python tests/benchmarks/corruptions.py --count 20000 --csv corruptions.csv

Every file is one of a small model with bytes changed, removed, inserted,
repeated or exchanged. Half of them keep their checksum and must be refused;
of the others the checksum is put right again, as a stranger would. Those
may load as another model, for a code that is changed is another code, but
they must not crash, nor take over a second or more memory than a limit.

`corruptions.csv` is of 2026-11-22, with constriction 0.5.0 and NumPy 2.4.
"""

import argparse
import dataclasses
import pathlib
import resource
import sys
import tempfile
import time

import keras
import numpy as np
from result_tables import write

from fritz_compress import load_compressed, save_compressed

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from storage_models import (  # noqa: E402
    same_weights,
    signed,
    small_model,
)

HEADER = 12  # Bytes up to the end of the checksum.


@dataclasses.dataclass
class Result:
    """What became of corrupted files.

    Attributes:
        checksum: `"wrong"` or `"put right"`.
        files: How many there were.
        refused: How many were a ValueError.
        loaded: How many loaded; with the right checksum as another model.
        wrong: How many of those with the wrong checksum loaded as another.
        crashed: How many raised anything else.
        slowest: Seconds of the processor that the slowest took.
        megabytes: By how much the process grew.
    """

    checksum: str
    files: int = 0
    refused: int = 0
    loaded: int = 0
    wrong: int = 0
    crashed: int = 0
    slowest: float = 0.0
    megabytes: float = 0.0


def run(count, seed=0):
    """Loads so many corrupted files, and counts what became of them."""
    rng = np.random.default_rng(seed)
    results = [Result("wrong"), Result("put right")]
    model = small_model()
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.fcz"
        save_compressed(model, path)
        load_compressed(path)  # What is set up once takes its time here.
        data = path.read_bytes()
        for index in range(count):
            result = results[index % 2]
            changed = corrupted(data, rng, result.checksum)
            path.write_bytes(changed)
            before = memory()
            attempt(path, model, result)
            result.megabytes += memory() - before
            if index % 200 == 199:
                # Keras remembers every name that it gave.
                keras.utils.clear_session()
    return results


def attempt(path, model, result):
    """Loads one file and adds to the result."""
    result.files += 1
    start = time.process_time()
    try:
        loaded = load_compressed(path)
    except ValueError:
        result.refused += 1
    except BaseException as error:  # A panic of the coder is no Exception.
        result.crashed += 1
        print(f"{type(error).__name__}: {error}")
    else:
        result.loaded += 1
        if result.checksum == "wrong" and not same_weights(loaded, model):
            result.wrong += 1
    result.slowest = max(result.slowest, time.process_time() - start)


def corrupted(data, rng, checksum):
    """The bytes of a file with one to four things wrong."""
    changed = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        CORRUPTIONS[rng.integers(len(CORRUPTIONS))](changed, rng)
    changed = bytes(changed)
    if checksum == "put right" and len(changed) > HEADER:
        return signed(data[:HEADER] + changed[HEADER:])
    # One that changed nothing is no corruption.
    return changed if changed != data else corrupted(data, rng, checksum)


def place(changed, rng):
    return int(rng.integers(len(changed))) if changed else 0


def flip(changed, rng):
    if changed:
        changed[place(changed, rng)] ^= 1 << int(rng.integers(8))


def overwrite(changed, rng):
    start = place(changed, rng)
    length = min(int(rng.integers(1, 9)), len(changed) - start)
    changed[start : start + length] = rng.bytes(length)


def saturate(changed, rng):
    """Sizes of many bytes: as large as they can be."""
    start = place(changed, rng)
    changed[start : start + int(rng.integers(1, 9))] = b"\xff" * 8 + b"\x7f"


def remove(changed, rng):
    start = place(changed, rng)
    del changed[start : start + int(rng.integers(1, 33))]


def insert(changed, rng):
    start = place(changed, rng)
    changed[start:start] = rng.bytes(int(rng.integers(1, 33)))


def repeat(changed, rng):
    start = place(changed, rng)
    changed[start:start] = changed[start : start + int(rng.integers(1, 65))]


def cut(changed, rng):
    del changed[place(changed, rng) :]


def exchange(changed, rng):
    one, other = sorted((place(changed, rng), place(changed, rng)))
    length = min(8, other - one, len(changed) - other)
    left = changed[one : one + length]
    changed[one : one + length] = changed[other : other + length]
    changed[other : other + length] = left


CORRUPTIONS = (
    *(flip, overwrite, saturate, remove, insert, repeat, cut, exchange),
)


def memory():
    """The most megabytes that the process ever took."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--csv", type=pathlib.Path)
    arguments = parser.parse_args()
    results = run(arguments.count, arguments.seed)
    rows = [dataclasses.asdict(result) for result in results]
    for row in rows:
        row["slowest"] = f"{row['slowest']:.3f}"
        row["megabytes"] = f"{row['megabytes']:.0f}"
        row["keras"] = keras.__version__
        row["backend"] = keras.backend.backend()
        print(row)
    if arguments.csv:
        write(arguments.csv, rows)


if __name__ == "__main__":
    main()
