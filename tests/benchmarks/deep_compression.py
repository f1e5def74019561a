"""Deep Compression of LeNet-300-100 and LeNet-5, on Fashion-MNIST.

    python tests/benchmarks/deep_compression.py lenet_300_100 --work FOLDER
    python tests/benchmarks/deep_compression.py lenet_5       --work FOLDER
    python tests/benchmarks/deep_compression.py plot

The stages of Han et al. 2015 (https://arxiv.org/abs/1510.00149), each from
the one before:

- `baseline` trains the network.
- `control` trains it on, unpruned, just as `pruned` does: the fairer
  baseline.
- `pruned` zeroes its smallest weights with `callbacks.MagnitudePruning`
  while it trains on.
- `quantized` lets the weights of each kernel share the few numbers of a
  codebook (`quantize_weights`) and trains these numbers
  (`callbacks.CodebookFineTuning`).
- `coded` is what `save_compressed` makes of it.

And, after Choi et al. 2017 (https://arxiv.org/abs/1612.01543), from `pruned`:

- `uniform` rounds all kernels to multiples of one step, which entropy coding
  likes better than the best codebook, and trains the levels.
- `uniform_coded` is what `save_compressed` makes of it.

From `control` on, networks learn the labels together with what the baseline
says, softened (Hinton et al. 2015); `control` and `pruned` do so on images
that are mixed in pairs (Zhang et al. 2017). Each network's rows go into
`deep_compression.csv`, from which `plot` draws `deep_compression.png`. A
command that was killed goes on where it was when it is given the same
`--work`.

Everything that was chosen was chosen on 5,000 training images that are held
out; a run looks at the test set once, at its end. There were several runs,
though. Those before the one in the table made known that LeNet-300-100 loses
0.81 points as `coded` without images that are mixed in pairs, and 0.32 with
them and 40 epochs of `pruned` in place of 100; and that LeNet-5 loses 0.06 as
`uniform` while one of its kernels was not kept in levels, by a mistake in
`CodebookFineTuning`.
"""

import argparse
import pathlib
import time

import deep_compression_results as results
import numpy as np
from deep_compression_networks import (
    DATASETS,
    RECIPES,
    load,
)
from deep_compression_training import (
    MIXUP,
    Run,
    adaptive,
    choose_step,
    momentum,
    one_hot,
    rounded,
    softened,
)
from fashion_mnist_results import accuracy

import fritz_compress as fc
from fritz_compress import callbacks


def pruning(run):
    """Zeros appear over the first half of the epochs, then stay."""
    steps = run.steps_per_epoch
    return callbacks.MagnitudePruning(
        run.recipe.sparsity,
        end_step=max(run.recipe.pruned_epochs // 2, 1) * steps,
        frequency=max(steps // 4, 1),
        scope="global",
    )


def compress(run):
    """Trains all stages that are not there yet."""
    recipe = run.recipe
    labels = one_hot(run.data.train_labels)
    run.train(
        "baseline",
        recipe.build,
        labels,
        recipe.baseline_epochs,
        momentum(recipe.learning_rate),
    )
    soft = softened(run.model("baseline"), run.data)

    def baseline():
        return run.model("baseline")

    def quantized():
        model = run.model("pruned")
        return fc.quantize_weights(model, recipe.codebooks)[0]

    def uniform():
        model = run.model("pruned")
        return rounded(model, choose_step(model, run.data.validation))

    longer = (
        soft,
        recipe.pruned_epochs,
        momentum(recipe.pruning_rate),
        MIXUP,
    )
    run.train("pruned", baseline, *longer, extra=[pruning(run)])
    run.train("control", baseline, *longer)
    tuned = (soft, recipe.tuned_epochs, adaptive(recipe.tuning_rate))
    for start in (quantized, uniform):
        tuning = callbacks.CodebookFineTuning()
        run.train(start.__name__, start, *tuned, extra=[tuning])


def packed(run, stage):
    """What a stage's file holds once it is read back; its size; seconds."""
    begin = time.monotonic()
    model = run.model(stage)
    path = run.work / f"{stage}.fcz"
    report = fc.save_compressed(model, path)
    loaded = fc.load_compressed(path)
    seconds = time.monotonic() - begin
    for weight, other in zip(model.get_weights(), loaded.get_weights()):
        np.testing.assert_array_equal(weight, other)
    print(report, flush=True)
    return loaded, results.coded_size(loaded, report), seconds


def measured(run):
    """Stage, model, size and seconds, for all stages."""
    for stage, size in results.UNCODED.items():
        model = run.model(stage)
        yield stage, model, size(model), run.seconds(stage)
        if stage in results.CODED:
            yield results.CODED[stage], *packed(run, stage)


def table(run, dataset):
    """The rows of all stages. Looks at the test set."""
    data, rows = run.data, []
    for stage, model, size, seconds in measured(run):
        held_out = accuracy(model, data.validation, data.validation_labels)
        rows.append(
            {
                "network": run.network,
                "dataset": dataset,
                "stage": stage,
                **results.columns(model, size),
                "validation_accuracy": round(held_out, 4),
                "test_accuracy": accuracy(model, data.test, data.test_labels),
                "seconds": round(seconds),
                "seed": run.seed,
            }
        )
    return results.with_losses(rows)


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", choices=[*RECIPES, "plot"])
    parser.add_argument("--dataset", choices=DATASETS, default=DATASETS[0])
    parser.add_argument("--data", type=pathlib.Path)
    parser.add_argument("--work", type=pathlib.Path, default="deep_compression")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    if args.run == "plot":
        results.plot()
        return
    work = pathlib.Path(args.work) / args.dataset / args.run
    work.mkdir(parents=True, exist_ok=True)
    data = load(args.dataset, args.data)
    run = Run(args.run, RECIPES[args.run], data, work, args.seed)
    compress(run)
    results.record(table(run, args.dataset))


if __name__ == "__main__":
    main()
