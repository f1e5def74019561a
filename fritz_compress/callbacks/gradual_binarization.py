"""Binary layers that begin as float ones."""

from collections.abc import Iterator

import keras

from fritz_compress.binarization.design import warn_of_design
from fritz_compress.callbacks.binary_layers import binary_layers
from fritz_compress.callbacks.channel_selection import network_of
from fritz_compress.checks import check_count, check_one_of
from fritz_compress.layers.binary_kernel import BinaryKernel

ORDERS = ("layers", "weights_first")


class GradualBinarization(keras.callbacks.Callback):
    """Trains binary layers as float ones first, and turns them over in turn.

    From a trained float network the way to signs is far. In steps the network
    mends the loss of each before the next one comes:

    - `"layers"`: one layer after the other in the order of the model, kernel
      and inputs together.
    - `"weights_first"`: first the kernels of all layers, later their inputs.

    The steps are spread evenly: with `n` of them, number `i` (from 0) comes
    at the beginning of epoch `begin_epoch + i * (end_epoch - begin_epoch) /
    n`, rounded down. Between epochs the training step is compiled anew, which
    takes some seconds. What is evaluated meanwhile is the network as it is
    then. At the end of training all layers are binary, also if it was cut
    short; the latent weights are clipped throughout.

    Warns when training begins of what `binarization.design_warnings` finds.

    Args:
        end_epoch: Epochs that are done when the last step has had its share.
            Train longer than that.
        order: `"layers"` or `"weights_first"`. Defaults to `"layers"`.
        begin_epoch: Epochs that are done before the first step. Defaults
            to 0.

    Logs: at the end of each epoch `binary_fraction`, the share of the steps
        that were done in it.

    Raises:
        TypeError, ValueError: on construction for an order that there is not,
            or epochs that do not follow each other; on train begin for a
            model without binary layers.

    Reference: Zhuang et al., "Towards Effective Low-bitwidth Convolutional
    Neural Networks", https://arxiv.org/abs/1711.00205, section 3.2, for
    weights first.

    Example:

    >>> gradual = GradualBinarization(end_epoch=10, order="weights_first")
    >>> binary.fit(images, labels, epochs=20, callbacks=[gradual])
    """

    def __init__(
        self, end_epoch: int, order: str = "layers", begin_epoch: int = 0
    ):
        super().__init__()
        self.end_epoch = check_count("end_epoch", end_epoch)
        self.begin_epoch = check_count("begin_epoch", begin_epoch, least=0)
        check_one_of("order", order, ORDERS)
        self.order = order
        if self.begin_epoch >= self.end_epoch:
            raise ValueError(
                "Epochs must satisfy begin_epoch < end_epoch. Received: "
                f"begin_epoch={begin_epoch}, end_epoch={end_epoch}."
            )

    def on_train_begin(self, logs=None):
        # Reset here, not in __init__: one instance may serve several fits.
        model = network_of(self.model)
        layers = binary_layers(model, "kernel_quantizer", "input_quantizer")
        self._steps = list(_steps(layers.values(), self.order))
        warn_of_design(model)

    def on_epoch_begin(self, epoch, logs=None):
        self._set(self.steps_begun(epoch, len(self._steps)))

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            steps = len(self._steps)
            logs["binary_fraction"] = self.steps_begun(epoch, steps) / steps

    def on_train_end(self, logs=None):
        self._set(len(self._steps))

    def steps_begun(self, epoch: int, steps: int) -> int:
        """How many of so many steps have begun at the beginning of an epoch.

        Args:
            epoch: Epochs done before it.
            steps: How many steps there are.
        """
        length = self.end_epoch - self.begin_epoch
        begins = (self.begin_epoch + i * length // steps for i in range(steps))
        return sum(begin <= epoch for begin in begins)

    def _set(self, begun):
        """Quantizes what the first so many steps do, and nothing else."""
        changed = False
        for number, step in enumerate(self._steps):
            for layer, flag in step:
                changed |= getattr(layer, flag) != (number < begun)
                setattr(layer, flag, number < begun)
        if changed:
            # What was compiled computes as before.
            self.model.make_train_function(force=True)
            self.model.make_test_function(force=True)
            self.model.make_predict_function(force=True)


def _steps(layers, order) -> Iterator[list[tuple[BinaryKernel, str]]]:
    """Layers and their switches, those that turn over together in a list."""
    layers = list(layers)
    switches = ("quantizes_kernel", "quantizes_inputs")
    if order == "layers":
        for layer in layers:
            yield [(layer, switch) for switch in switches]
    else:
        for switch in switches:
            yield [(layer, switch) for layer in layers]
