"""A training that can be killed at any time."""

import os
import pathlib
import warnings
from collections.abc import Sequence

import keras

from fritz_compress.files import whole_file


def resumed(
    model: keras.Model,
    backup_dir: str | os.PathLike | None,
    steps_per_epoch: int,
    callbacks: Sequence[keras.callbacks.Callback],
) -> tuple[list[keras.callbacks.Callback], int]:
    """Brings a model back to where its training was killed, if it was.

    Args:
        model: The compiled model.
        backup_dir: Folder of the backup, or `None` for none.
        steps_per_epoch: Optimizer steps of an epoch.
        callbacks: Those of the training.

    Returns: the callbacks, with one more that makes backups, and the number
    of epochs done.

    Raises:
        ValueError: if the backup is of another model.
    """
    if backup_dir is None:
        return list(callbacks), 0
    backup = EpochBackup(backup_dir, steps_per_epoch)
    # Last in the list: it keeps what the others made of the epoch.
    return [*callbacks, backup], backup.restore(model)


class EpochBackup(keras.callbacks.Callback):
    """Keeps weights and optimizer on disk after every epoch, while training.

    Like `keras.callbacks.BackupAndRestore`, but there is one file, renamed
    into place once it is complete, and the epoch is told by the optimizer's
    own count of steps: there is no moment at which a kill leaves one without
    the other. The file is removed when training ends.

    Args:
        folder: Folder of the file, made if it is missing.
        steps_per_epoch: Optimizer steps of an epoch.

    Raises:
        ValueError: from `restore`, if the file is of another model.
    """

    def __init__(self, folder: str | os.PathLike, steps_per_epoch: int):
        super().__init__()
        self.path = pathlib.Path(folder) / "latest.weights.h5"
        self.steps_per_epoch = steps_per_epoch

    def restore(self, model: keras.Model) -> int:
        """Loads what was kept, if anything, before `fit`.

        Returns: epochs done, the `initial_epoch` of `fit`.
        """
        if not self.path.is_file():
            return 0
        model.optimizer.build(model.trainable_variables)
        try:
            with warnings.catch_warnings():
                # Keras only warns when it leaves an optimizer unrestored.
                warnings.simplefilter("error", UserWarning)
                model.load_weights(self.path)
        except (ValueError, KeyError, OSError, UserWarning) as error:
            raise ValueError(
                f"'{self.path}' is the backup of another training: {error}. "
                "Pass the arguments of that training, or another folder."
            ) from error
        return int(model.optimizer.iterations) // self.steps_per_epoch

    def on_epoch_end(self, epoch, logs=None):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(self.path) as unfinished:
            self.model.save_weights(unfinished)

    def on_train_end(self, logs=None):
        self.path.unlink(missing_ok=True)
        try:
            self.path.parent.rmdir()
        except OSError:
            pass  # Something else is in it, or it was never made.
