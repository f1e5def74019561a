"""How many binary weights changed sides since the last epoch."""

import keras
import numpy as np

from fritz_compress.binarization.design import warn_of_design
from fritz_compress.callbacks.binary_layers import binary_layers
from fritz_compress.callbacks.channel_selection import network_of


class FlipRate(keras.callbacks.Callback):
    """Logs which fraction of the binary weights changed in each epoch.

    Latent weights move a little with each step; what counts is when they
    cross zero. Where many flip until the end, the learning rate is too high
    to settle; where none does, it is too low, or the latent weights too
    large, to learn anything. Kernels of more levels count a weight that has
    another level.

    Warns when training begins of what `binarization.design_warnings` finds.

    Attributes:
        by_layer: The fraction of the last epoch for each layer by name.

    Logs: at the end of each epoch `flip_rate`, in `[0, 1]`, over all binary
        kernels.

    Raises:
        ValueError: on train begin for a model without binary kernels.

    Reference: Helwegen et al., "Latent Weights Do Not Exist: Rethinking
    Binarized Neural Network Optimization",
    https://arxiv.org/abs/1906.02107.

    Example:

    >>> history = model.fit(images, labels, callbacks=[FlipRate()])
    >>> history.history["flip_rate"]
    """

    def __init__(self):
        super().__init__()
        self.by_layer: dict[str, float] = {}

    def on_train_begin(self, logs=None):
        # Reset here, not in __init__: one instance may serve several fits.
        model = network_of(self.model)
        self._layers = binary_layers(model, "kernel_quantizer")
        self.by_layer = {}
        self._before = self._levels()
        warn_of_design(model)

    def on_epoch_end(self, epoch, logs=None):
        network_of(self.model)  # On JAX that syncs the weights.
        levels = self._levels()
        changed = {
            name: self._before[name] != now for name, now in levels.items()
        }
        self.by_layer = {
            name: float(np.mean(of_layer)) for name, of_layer in changed.items()
        }
        self._before = levels
        if logs is not None:
            flips = sum(int(np.sum(of_layer)) for of_layer in changed.values())
            size = sum(of_layer.size for of_layer in changed.values())
            logs["flip_rate"] = flips / size

    def _levels(self):
        return {
            name: keras.ops.convert_to_numpy(layer.kernel_levels()[0])
            for name, layer in self._layers.items()
        }
