"""Removal of channels from thousands of random models, against the oracle.

    python tests/benchmarks/random_graphs.py [--count 10000] [--seed 0] \
        [--jobs 2] [--csv tests/benchmarks/random_graphs.csv] [--journal FILE]

Every seed makes one model (`random_graphs`), which must pass `check` in
`removal_property`: outputs as the oracle's, the original untouched, every
second one saved and loaded. `--count 1 --seed 123` shows the model of a
failure as code, and what is wrong. The table, written as the run goes on, has
a row for all models, one for those that would not show a mistake and were left
out, and one per kind of layer or operation: how many models had it, how often
it was called, and the seeds of the failures. Rows of the other backend
(KERAS_BACKEND) stay. With a journal, a run that was killed goes on where it
was: seeds in the file are not run again.
"""

import argparse
import collections
import concurrent.futures
import json
import multiprocessing
import os
import pathlib
import random
import sys
import traceback

import result_tables

TESTS = pathlib.Path(__file__).resolve().parents[1]
COLUMNS = "backend kind models calls failed seeds date versions".split()
CHUNK = 50  # Models per process, which keep memory until it ends.


def run(seeds):
    """What became of these seeds: one dict each."""
    sys.path.insert(0, str(TESTS))
    # Tensors are tiny: threads would wait for each other.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return [run_one(seed) for seed in seeds]


def run_one(seed):
    import random_graphs
    import removal_property

    from fritz_compress.graph import trace

    result = {"seed": seed, "kinds": {}, "discarded": "", "error": ""}
    code = ""
    try:
        code = random_graphs.random_graph(random.Random(seed))
        model = random_graphs.build(code)
        kinds = [node.kind for node in trace(model).nodes]
        result["kinds"] = collections.Counter(kinds)
        removal_property.check(model, seed)
    except removal_property.Discarded as reason:
        result["discarded"] = str(reason)
    except Exception:
        result["error"] = f"{code}\n\n{traceback.format_exc()}"
    return result


def rows(results, backend):
    """The table: all models, what was discarded, and every kind."""
    note = {
        "backend": backend,
        **result_tables.made_with("keras", backend),
    }

    def row(kind, some, calls=""):
        failed = sorted(r["seed"] for r in some if r["error"])
        return {
            **note,
            "kind": kind,
            "models": len(some),
            "calls": calls,
            "failed": len(failed),
            "seeds": " ".join(map(str, failed[:20])),
        }

    yield row("(all)", results)
    for reason in sorted({r["discarded"] for r in results} - {""}):
        alike = [r for r in results if r["discarded"] == reason]
        yield row(f"(discarded: {reason})", alike)
    for kind in sorted({kind for r in results for kind in r["kinds"]}):
        having = [r for r in results if kind in r["kinds"]]
        yield row(kind, having, sum(r["kinds"][kind] for r in having))


def write(path, results, backend):
    others = [r for r in result_tables.read(path) if r["backend"] != backend]
    table = sorted(
        [*others, *rows(results, backend)], key=lambda r: r["backend"]
    )
    result_tables.write(path, table, COLUMNS)


def read(journal):
    """What earlier runs found."""
    if journal is None or not journal.exists():
        return []
    return [json.loads(line) for line in journal.read_text().splitlines()]


def record(journal, results):
    if journal is not None:
        with journal.open("a") as file:
            file.writelines(json.dumps(result) + "\n" for result in results)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--csv", type=pathlib.Path)
    parser.add_argument("--journal", type=pathlib.Path)
    args = parser.parse_args()
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    results = read(args.journal)
    known = {result["seed"] for result in results}
    wanted = range(args.seed, args.seed + args.count)
    seeds = [seed for seed in wanted if seed not in known]
    chunks = [seeds[i : i + CHUNK] for i in range(0, len(seeds), CHUNK)]
    with concurrent.futures.ProcessPoolExecutor(
        args.jobs,
        multiprocessing.get_context("spawn"),
        max_tasks_per_child=1,
    ) as pool:
        for done in concurrent.futures.as_completed(
            [pool.submit(run, chunk) for chunk in chunks]
        ):
            results += done.result()
            record(args.journal, done.result())
            for failure in (r for r in done.result() if r["error"]):
                print(f"--- seed {failure['seed']}\n{failure['error']}")
            total, *discarded = list(rows(results, backend))
            left_out = sum(
                row["models"] for row in discarded if "(" in row["kind"]
            )
            print(
                f"{total['models']} models, {left_out} left out, "
                f"{total['failed']} failed {total['seeds']}",
                flush=True,
            )
            if args.csv:
                write(args.csv, results, backend)
    sys.exit(any(r["error"] for r in results))


if __name__ == "__main__":
    main()
