"""What `train`, `distill` and `demo` share: progress, pruning, saving."""

import functools
import pathlib

import keras

from fritz_compress import surgery, training
from fritz_compress.callbacks import FilterPruning
from fritz_compress.cli.console import console, progress_bar, tracked
from fritz_compress.files import check_suffix, whole_file


class TrainingProgress(keras.callbacks.Callback):
    """A progress bar over all steps, with the loss of the epoch."""

    def __init__(self, description: str, steps: int):
        super().__init__()
        self.description = description
        self.steps = steps

    def on_train_begin(self, logs=None):
        self._bar = progress_bar()
        self._progress = self._bar.__enter__()
        done = int(self.model.optimizer.iterations)  # more than 0 if resumed
        self._task = self._progress.add_task(
            self.description, total=self.steps, completed=done, detail=""
        )

    def on_train_batch_end(self, batch, logs=None):
        loss = (logs or {}).get("loss")
        detail = "" if loss is None else f"loss {float(loss):.4g}"
        self._progress.update(self._task, advance=1, detail=detail)

    def on_train_end(self, logs=None):
        self._bar.__exit__(None, None, None)


def read_photos(
    folder: pathlib.Path | None, skip_broken: bool
) -> training.Photos:
    """The photos of a folder, with a progress bar while they are checked."""
    progress = functools.partial(tracked, "reading photos")
    return training.Photos(folder, skip_broken, progress=progress)


def callbacks(
    description: str, steps: int, pruned_fraction: float
) -> list[keras.callbacks.Callback]:
    """A progress bar, and `FilterPruning` over the first half if asked for."""
    found: list[keras.callbacks.Callback] = [
        TrainingProgress(description, steps)
    ]
    if pruned_fraction:
        begin = steps // 10
        found.append(
            FilterPruning(
                pruned_fraction,
                begin_step=begin,
                end_step=max(begin + 1, steps // 2),
                frequency=max(1, steps // 40),
            )
        )
    return found


def save_network(model: keras.Model, output: pathlib.Path) -> keras.Model:
    """Removes what was pruned, saves, and returns what was saved."""
    model = surgery.remove_pruned_filters(model)
    with whole_file(output) as unfinished:
        model.save(unfinished)
    console.print(f"{output}: {model.count_params():,} weights")
    return model


def check_output(output: pathlib.Path) -> None:
    """Fails before the training rather than after it."""
    check_suffix(output, (".keras",))
    if not output.parent.is_dir():
        raise ValueError(f"No folder '{output.parent}' to write '{output}' to.")
