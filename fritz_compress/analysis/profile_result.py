"""What a model costs: one row per layer, totals, memory, sizes."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence

from fritz_compress.analysis import profile_table
from fritz_compress.analysis.activation_memory import LiveTensors, PeakMemory
from fritz_compress.analysis.receptive_field import Field
from fritz_compress.checks import check_count, check_name
from fritz_compress.suggestions import did_you_mean


@dataclasses.dataclass(frozen=True)
class LayerProfile:
    """The cost of one layer or raw operation, over all its calls.

    Attributes:
        name: Name of the layer.
        kind: Its class, such as `"Conv2D"`.
        output_shape: Shape of its (first) output, of its last call.
        parameters: Numbers in its weights, trainable or not, without those
            of weights that a layer before it holds too.
        macs: Multiply-accumulates for one sample, but those of two signs;
            `None` if not known.
        bytes: Size of its weights as they are stored in memory.
        trainable: Numbers in its trainable weights.
        multiplications: All products and quotients for one sample, MACs
            included; `None` if not known.
        receptive_field: Pixels of the input that one number of its output
            depends on, such as `(3, 3)`; `None` if that is all of them, or
            not known.
        binary_macs: Multiply-accumulates of two signs for one sample; `None`
            if not known.
        binary_parameters: Numbers in its weights that are deployed as one bit.
        weight_bits: Bits that its weights take as deployed: kernels of few
            bits as such, with 32 for the scale of each filter if there is
            one, and all else as in memory.
    """

    name: str
    kind: str
    output_shape: tuple[int | None, ...]
    parameters: int
    macs: int | None
    bytes: int
    trainable: int = 0
    multiplications: int | None = 0
    receptive_field: Field = None
    binary_macs: int | None = 0
    binary_parameters: int = 0
    weight_bits: int = 0


@dataclasses.dataclass(frozen=True)
class Profile:
    """The cost of each layer of a model. `str(profile)` is a table.

    Attributes:
        model: Name of the model.
        layers: One row per layer and raw operation, in the order of their
            first calls.
        receptive_field: Pixels of the input that one number of the (first)
            output depends on, by axis; `None` as in a row.
        steps: What is in memory at each call.
    """

    model: str
    layers: tuple[LayerProfile, ...]
    receptive_field: Field = None
    steps: tuple[LiveTensors, ...] = dataclasses.field(default=(), repr=False)

    @property
    def parameters(self) -> int:
        """Numbers in all weights, those of shared layers counted once."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def trainable(self) -> int:
        """Numbers in all trainable weights."""
        return sum(layer.trainable for layer in self.layers)

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one sample, but those of `unknown`.

        Those of two signs are `binary_macs`.
        """
        return sum(layer.macs or 0 for layer in self.layers)

    @property
    def binary_macs(self) -> int:
        """Multiply-accumulates of two signs for one sample."""
        return sum(layer.binary_macs or 0 for layer in self.layers)

    @property
    def binary_parameters(self) -> int:
        """Numbers in all weights that are deployed as one bit."""
        return sum(layer.binary_parameters for layer in self.layers)

    @property
    def multiplications(self) -> Mapping[str, int]:
        """All products and quotients for one sample, by kind of layer.

        Kinds that multiply nothing are left out, and so are the layers of
        `unknown`. For what is counted see `profile`.
        """
        counts = Counter()
        for layer in self.layers:
            counts[layer.kind] += layer.multiplications or 0
        return dict(+counts)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Layers whose multiplications cannot be told, by name."""
        return tuple(
            layer.name for layer in self.layers if layer.multiplications is None
        )

    @property
    def bytes(self) -> int:
        """Size of all weights in memory."""
        return sum(layer.bytes for layer in self.layers)

    @property
    def deployed_bytes(self) -> int:
        """Size of all weights, kernels of few bits in these.

        The weights of each layer begin at a whole byte. See `weight_bits` of
        `LayerProfile`; without such kernels these are `bytes`.
        """
        return sum(-(-layer.weight_bits // 8) for layer in self.layers)

    @property
    def has_few_bits(self) -> bool:
        """Whether a kernel is deployed in other bits than in memory."""
        return any(row.weight_bits != 8 * row.bytes for row in self.layers)

    def weight_bytes(self, bits: int | Mapping[str, int]) -> int:
        """Size of all weights with so many bits for every number.

        Scales, codebooks and headers of a file are not in it. The numbers of
        each layer begin at a whole byte.

        Args:
            bits: For all layers, or by the name of the layer; layers that are
                not named keep their bytes in memory.

        Raises:
            TypeError: for what is no whole number.
            ValueError: for a number below 1, or a name of no layer.
        """
        of_layers = bits if isinstance(bits, Mapping) else {}
        for name, number in of_layers.items():
            self._check_layer(name)
            check_count(f"bits['{name}']", number)
        if of_layers is not bits:
            of_layers = dict.fromkeys(
                (layer.name for layer in self.layers), check_count("bits", bits)
            )
        return sum(
            (
                -(-layer.parameters * of_layers[layer.name] // 8)
                if layer.name in of_layers
                else layer.bytes
            )
            for layer in self.layers
        )

    def activation_memory(self, bits: int = 32) -> PeakMemory:
        """The most bytes that the numbers between the layers take.

        Tensors live from the call that makes them to the last one that reads
        them, in the order of the model's graph; the input is one of them. Of
        one sample, or of one batch if the model has a fixed batch size.

        Args:
            bits: Bits of a floating point number. Token ids and masks keep
                their own type.

        Raises:
            TypeError: if `bits` is no whole number.
            ValueError: if it is below 1, or a size is not known.
        """
        check_count("bits", bits)
        for step in self.steps:
            if step.numbers is None:
                raise ValueError(
                    f"Model '{self.model}' takes inputs of any size, and its "
                    "memory depends on it: that of layer "
                    f"'{step.layer}' is not known. Pass `input_size` to "
                    "`profile`."
                )
        peak = max(self.steps, key=lambda step: step.bytes_at(bits))
        return PeakMemory(peak.bytes_at(bits), peak.layer)

    def to_csv(self) -> str:
        """The rows as comma-separated text, with a header, without totals."""
        return profile_table.to_csv(self)

    def summary(self, bits: Sequence[int] = (32, 8)) -> str:
        """The rows and totals as a table, with sizes at some bits.

        Args:
            bits: Bits per number, of weights and of activations.
        """
        return profile_table.summary(self, bits)

    def __str__(self) -> str:
        return self.summary()

    def _check_layer(self, name):
        names = [layer.name for layer in self.layers]
        if check_name(name) not in names:
            raise ValueError(
                "`bits` must be by names of layers. Received: "
                f"'{name}', which model '{self.model}' has not."
                f"{did_you_mean(name, names)}"
            )
