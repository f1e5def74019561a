"""The ways to factorize a layer: arithmetic, and the layers it becomes."""

import dataclasses

import keras
from keras import layers

from fritz_compress.ops.decomposition import Decomposition
from fritz_compress.ops.kernel_factors import Channel, Separable, Spatial
from fritz_compress.ops.tensor_factors import CP, Tucker
from fritz_compress.ops.toeplitz_factors import ToeplitzLike
from fritz_compress.surgery.factorization import chains

CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D)


@dataclasses.dataclass(frozen=True)
class Method:
    """A decomposition of kernels, and the layers that compute with it.

    Attributes:
        decomposition: The arithmetic.
        kinds: Classes of layers that it is for.
        chain: The layers; see `chains`.
        padding: What the convolutions must be padded like.
    """

    decomposition: Decomposition
    kinds: tuple[type, ...]
    chain: chains.Chain
    padding: tuple[str, ...] = ("valid", "same", "causal")

    def reason_against(self, layer: keras.Layer) -> str:
        """Why a layer cannot be factorized in this way; empty if it can."""
        if type(layer) not in self.kinds:
            known = " and ".join(kind.__name__ for kind in self.kinds)
            return f"the method is for {known}"
        if getattr(layer, "padding", "valid") not in self.padding:
            return "no depthwise layer has causal padding"
        return ""


METHODS = {
    "svd": Method(Channel(), (layers.Dense,), chains.dense),
    "toeplitz": Method(ToeplitzLike(), (layers.Dense,), chains.toeplitz),
    "channel": Method(Channel(), CONVOLUTIONS, chains.channel),
    "spatial": Method(Spatial(), (layers.Conv2D,), chains.spatial),
    "tucker": Method(Tucker(), CONVOLUTIONS, chains.tucker),
    "cp": Method(CP(), (layers.Conv2D,), chains.cp),
    "separable": Method(
        Separable(),
        tuple(chains.DEPTHWISE),
        chains.separable,
        ("valid", "same"),
    ),
}


def default_method(layer: keras.Layer) -> str:
    """Singular value decomposition, of a kernel with positions by channel."""
    return "svd" if type(layer) is layers.Dense else "channel"
