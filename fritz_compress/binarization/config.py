"""How a layer is binarized."""

import dataclasses
from typing import Any

from fritz_compress import quantizers
from fritz_compress.checks import check_one_of, check_positive
from fritz_compress.layers.binary_kernel import AUTO


@dataclasses.dataclass(frozen=True)
class BinarizationConfig:
    """How a layer is binarized.

    | networks       | kernel_quantizer         | inputs       | input_scale |
    |----------------|--------------------------|--------------|-------------|
    | BWN, default   | `"magnitude_aware_sign"` | `None`       |             |
    | BinaryConnect  | `"ste_sign"`, or         | `None`       |             |
    |                | `"stochastic_sign"`      |              |             |
    | XNOR-Net       | `"magnitude_aware_sign"` | `"ste_sign"` | `True`      |
    | BinaryNet      | `"ste_sign"`             | `"ste_sign"` |             |
    | DoReFa, 2 bits | `"dorefa_weights"`       | `"dorefa"`   |             |

    Attributes:
        kernel_quantizer: A name, a `quantizers.BitQuantizer`, or `None` for
            kernels of floats.
        input_quantizer: Likewise, of what the layer reads.
        input_scale: Whether sums of signs are scaled by the magnitude of the
            inputs (`layers.XnorConv2D`, `layers.XnorDense`).
        kernel_clip: As of `layers.BinaryConv2D`.
        normalize: Whether a normalization is put in front of a sign that has
            none. Defaults to `True`.

    Raises:
        TypeError, ValueError: for a value that is not as described, or if
            nothing is quantized.

    Example: BinaryNet, but for the layer before the last.

    >>> binarize(model, {
    ...     "global_config": {
    ...         "kernel_quantizer": "ste_sign", "input_quantizer": "ste_sign"
    ...     },
    ...     "layer_name_configs": {"fc_2": None},
    ... })
    """

    kernel_quantizer: Any = "magnitude_aware_sign"
    input_quantizer: Any = None
    input_scale: bool = False
    kernel_clip: float | str | None = AUTO
    normalize: bool = True

    def __post_init__(self):
        for name in ("kernel_quantizer", "input_quantizer"):
            if getattr(self, name) is not None:
                quantizers.get(getattr(self, name))
        if self.kernel_quantizer is None and self.input_quantizer is None:
            raise ValueError(
                "Kernels, inputs or both must be quantized. Received: "
                "kernel_quantizer=None, input_quantizer=None. Pass None in "
                "place of the configuration, to leave layers as they are."
            )
        for name in ("input_scale", "normalize"):
            check_one_of(name, getattr(self, name), (False, True))
        if self.kernel_clip not in (None, AUTO):
            check_positive("kernel_clip", self.kernel_clip)
        if self.input_scale and not self.signs_inputs:
            raise ValueError(
                "`input_scale` is for signs of inputs. Received: "
                f"input_quantizer={self.input_quantizer!r}. Pass 'ste_sign'."
            )

    @property
    def signs_inputs(self) -> bool:
        """Whether the layer reads signs."""
        if self.input_quantizer is None:
            return False
        quantizer = quantizers.get(self.input_quantizer)
        return getattr(quantizer, "is_sign", False)
