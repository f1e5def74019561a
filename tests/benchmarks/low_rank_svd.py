"""Truncated SVD of VGG-16's first dense layer: time, error and memory.

    python tests/benchmarks/low_rank_svd.py [--rows 25088] [--columns 4096]
        [--ranks 32 64 ...] [--numpy] [--table FILE]

A random kernel whose singular values fall, in the shape of that layer, is
written to a temporary file. `ops.low_rank.truncated_svd` decomposes it for
each rank, in a process of its own, and with `--numpy` `numpy.linalg.svd` does
once, all of it, which takes several gigabytes and minutes.

`seconds` are those of the clock, `cpu_seconds` of all cores; where other
programs run (see `load`), only the latter compare. `faster` is how many times
more of them numpy needed. `error_ratio` is the norm of what the factors miss
over the least there is for the rank, from numpy's singular values. `kernels`
is the peak of the memory, kernel and factors included, in kernels. Rows are
added to `low_rank_svd.csv`; without `--numpy` they are compared with numpy's
row for the same kernel in it.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np
from result_tables import append

TABLE = pathlib.Path(__file__).with_suffix(".csv")
DECAY = 0.5  # The i-th singular value is about the i-th power of -DECAY.
RANKS = (32, 64, 128, 256, 512, 1024)


def write_kernel(path, rows, columns):
    """A random kernel; returns nothing but the file."""
    rng = np.random.default_rng(0)
    turned, _ = np.linalg.qr(
        rng.standard_normal((columns, columns), dtype="float32")
    )
    turned *= np.arange(1, columns + 1, dtype="float32")[:, None] ** -DECAY
    kernel = np.lib.format.open_memmap(path, "w+", "float32", (rows, columns))
    for start in range(0, rows, 1024):
        part = kernel[start : start + 1024]
        part[:] = rng.standard_normal(part.shape, dtype="float32") @ turned
    kernel.flush()


def measured(how, path, rank, values):
    """Time, error and memory of one decomposition, in this process."""
    import scipy.linalg  # noqa: F401
    import sklearn.utils.extmath  # noqa: F401

    from fritz_compress.ops.low_rank import truncated_svd

    kernel = np.load(path)
    before = _peak()
    clock, work = time.perf_counter(), time.process_time()
    if how == "numpy":
        left, found, right = np.linalg.svd(kernel, full_matrices=False)
    else:
        left, right = truncated_svd(kernel, rank)
    clock, work = time.perf_counter() - clock, time.process_time() - work
    result = {
        "seconds": clock,
        "cpu_seconds": work,
        "kernels": 1 + (_peak() - before) / kernel.nbytes,
    }
    if how == "numpy":
        np.save(values, found)
    else:
        result["error"] = _error(kernel, left, right)
    return result


def _peak():
    """Most memory of this process so far, in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _error(kernel, left, right):
    squares = 0.0
    for start in range(0, len(kernel), 1024):
        part = slice(start, start + 1024)
        squares += np.square(left[part] @ right - kernel[part]).sum()
    return float(np.sqrt(squares))


def in_a_process(*arguments):
    result = subprocess.run(
        [sys.executable, __file__, "--child", *map(str, arguments)],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return json.loads(result.stdout.splitlines()[-1])


def row(args, how, rank, result, numpy_seconds, least):
    """One line of the table."""
    faster = numpy_seconds and numpy_seconds / result["cpu_seconds"]
    ratio = least and result["error"] / least
    return {
        "date": datetime.date.today().isoformat(),
        "rows": args.rows,
        "columns": args.columns,
        "how": how,
        "rank": rank,
        "seconds": round(result["seconds"], 2),
        "cpu_seconds": round(result["cpu_seconds"], 2),
        "faster": faster and round(faster, 1),
        "error_ratio": ratio and round(float(ratio), 6),
        "kernels": round(result["kernels"], 2),
        "load": round(os.getloadavg()[0], 1),
        "library": f"numpy {np.__version__}, scipy "
        f"{importlib.metadata.version('scipy')}, scikit-learn "
        f"{importlib.metadata.version('scikit-learn')}",
        "machine": f"{os.cpu_count()} CPU cores, {platform.machine()}",
    }


def rows(args, folder):
    """Measures all, and yields the lines of the table."""
    kernel, values = folder / "kernel.npy", folder / "values.npy"
    write_kernel(kernel, args.rows, args.columns)
    numpy_seconds, least = None, dict.fromkeys(args.ranks)
    if args.numpy:
        result = in_a_process("numpy", kernel, 0, values)
        numpy_seconds = result["cpu_seconds"]
        full = min(args.rows, args.columns)
        yield row(args, "numpy", full, result, None, None)
        squares = np.square(np.load(values), dtype="float64")
        least = {rank: np.sqrt(squares[rank:].sum()) for rank in args.ranks}
    for rank in args.ranks:
        result = in_a_process("ours", kernel, rank, values)
        yield row(args, "ours", rank, result, numpy_seconds, least[rank])


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", type=int, default=25088)
    parser.add_argument("--columns", type=int, default=4096)
    parser.add_argument("--ranks", type=int, nargs="+", default=RANKS)
    parser.add_argument("--numpy", action="store_true")
    parser.add_argument("--table", type=pathlib.Path, default=TABLE)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        how, kernel, rank, values = args.child
        print(json.dumps(measured(how, kernel, int(rank), values)))
        return
    with tempfile.TemporaryDirectory() as folder:
        for line in rows(args, pathlib.Path(folder)):
            append(args.table, line)
            print(line, flush=True)


if __name__ == "__main__":
    main()
