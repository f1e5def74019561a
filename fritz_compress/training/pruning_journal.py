"""What a pruning layer by layer did so far, on disk and as a table."""

import dataclasses
import json
import os
import pathlib

import keras

from fritz_compress.files import whole_file


@dataclasses.dataclass(frozen=True)
class PruningAttempt:
    """One attempt to do with fewer filters in one channel group.

    Attributes:
        layer: The layers that lost filters together.
        channels_before, channels_after: Channels of the group.
        metric_before: Validation metric before any retraining.
        metric_after: The same after the last epoch of retraining.
        epochs: Epochs of retraining.
        accepted: Whether the floor was reached again. If not, the model is
            as it was before the step.
    """

    layer: str
    channels_before: int
    channels_after: int
    metric_before: float
    metric_after: float
    epochs: int
    accepted: bool


@dataclasses.dataclass(frozen=True)
class Retraining:
    """The training on all data at the end.

    Attributes:
        metric_before, metric_after: Validation metric.
        epochs: Epochs of it.
        accepted: Whether its result was taken: not if it fell below the
            floor.
    """

    metric_before: float
    metric_after: float
    epochs: int
    accepted: bool


@dataclasses.dataclass(frozen=True)
class PruningReport:
    """What a pruning layer by layer did: print it for a table.

    Attributes:
        monitor: Name of the metric.
        floor: What the metric had to reach.
        metric_before: That of the model given.
        steps: Every attempt, in order.
        retraining: The training at the end, `None` if it had no epochs.
        skipped: Layers that were not tried, each with the reason.
        parameters_before, parameters_after: Numbers in all weights.
    """

    monitor: str
    floor: float
    metric_before: float
    steps: tuple[PruningAttempt, ...]
    retraining: Retraining | None
    skipped: tuple[tuple[str, str], ...]
    parameters_before: int
    parameters_after: int

    @property
    def metric_after(self) -> float:
        """The metric of the model that was returned."""
        if self.retraining is None:
            return last_metric(self.metric_before, self.steps)
        if self.retraining.accepted:
            return self.retraining.metric_after
        return self.retraining.metric_before

    def rows(self) -> list[tuple[str, ...]]:
        """The cells of the table, its header first."""
        rows = [
            (
                step.layer,
                f"{step.channels_before} -> {step.channels_after}",
                *_cells(step),
            )
            for step in self.steps
        ]
        if self.retraining is not None:
            rows.append(("all layers, all data", "", *_cells(self.retraining)))
        head = ("layer", "channels", self.monitor, "retrained", "epochs", "")
        return [head, *rows]

    def __str__(self):
        rows = self.rows()
        widths = [max(map(len, column)) for column in zip(*rows)]
        lines = [
            "  ".join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip()
            for row in rows
        ]
        lines += [f"skipped {names}: {why}" for names, why in self.skipped]
        return "\n".join([*lines, self.summary()])

    def summary(self) -> str:
        """Metric and parameters before and after, in one line."""
        return (
            f"{self.monitor} {self.metric_before:.4f} -> "
            f"{self.metric_after:.4f} (floor {self.floor:g}), parameters "
            f"{self.parameters_before:,} -> {self.parameters_after:,}"
        )


def last_metric(first: float, steps: tuple[PruningAttempt, ...]) -> float:
    """The metric after the last step that was accepted."""
    accepted = [step.metric_after for step in steps if step.accepted]
    return accepted[-1] if accepted else first


class Journal:
    """Steps and the last good model in a folder, at any moment consistent.

    The JSON file names the file of the model that goes with it. A model is
    written under a new name first, so that whatever a kill leaves behind, the
    journal and its model are of the same moment.

    Args:
        folder: Folder to keep both in, made if it is missing; `None` keeps
            nothing.
        settings: What the steps depend on, as JSON holds it.
    """

    def __init__(self, folder: str | os.PathLike | None, settings: dict):
        self.folder = None if folder is None else pathlib.Path(folder)
        self.settings = json.loads(json.dumps(settings))
        self._model: str | None = None  # its file; `None` is the one given

    def read(
        self,
    ) -> tuple[list[PruningAttempt], Retraining | None, keras.Model | None]:
        """What was written last; no steps and no model if nothing was.

        Raises:
            ValueError: if it is the journal of other settings, or broken.
        """
        if self.folder is None or not self._path.is_file():
            return [], None, None
        try:
            found = json.loads(self._path.read_text())
            steps = [PruningAttempt(**step) for step in found["steps"]]
            last = found["retraining"]
            retraining = None if last is None else Retraining(**last)
            settings, self._model = found["settings"], found["model"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"'{self._path}' is not the journal of a pruning layer by "
                f"layer: {error}. Choose another folder."
            ) from error
        self._check(settings)
        if self._model is None:
            return steps, retraining, None
        path = self.folder / self._model
        model = keras.saving.load_model(path, compile=False)
        return steps, retraining, model

    def write(
        self,
        steps: list[PruningAttempt],
        retraining: Retraining | None = None,
        model: keras.Model | None = None,
    ) -> None:
        """Replaces what was written before.

        Args:
            steps: All steps so far.
            retraining: That on all data, if it is done.
            model: The last good model if it is a new one, else `None`.
        """
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        if model is not None:
            self._model = f"model_{len(steps) + (retraining is not None)}.keras"
            with whole_file(self.folder / self._model) as unfinished:
                model.save(unfinished)
        content = {
            "settings": self.settings,
            "model": self._model,
            "steps": [dataclasses.asdict(step) for step in steps],
            "retraining": retraining and dataclasses.asdict(retraining),
        }
        with whole_file(self._path) as unfinished:
            unfinished.write_text(json.dumps(content, indent=1))
        for path in self.folder.glob("model_*.keras"):
            if path.name != self._model:
                path.unlink()

    @property
    def _path(self):
        return self.folder / "journal.json"

    def _check(self, settings):
        differing = [
            f"{name} was {settings.get(name)!r} and is {value!r}"
            for name, value in self.settings.items()
            if settings.get(name) != value
        ]
        if differing:
            raise ValueError(
                f"'{self._path}' is the journal of another pruning: "
                f"{'; '.join(differing)}. Pass the arguments of that one, or "
                "another folder."
            )


def _cells(row):
    return (
        f"{row.metric_before:.4f}",
        f"{row.metric_after:.4f}",
        str(row.epochs),
        "kept" if row.accepted else "undone",
    )
