"""Running `.tflite` files."""

import os

import numpy as np

from fritz_compress.silence import silenced


class LiteRTModel:
    """A `.tflite` file in LiteRT, its inputs and outputs as floats.

    Integer inputs and outputs are quantized and dequantized with the scale
    that the file gives.

    Args:
        path: A file with one input and one output.
        threads: CPU threads. Defaults to 1.
        xnnpack: Whether XNNPACK computes what it can, as LiteRT does by
            default; without it TFLite's own kernels compute all.

    Attributes:
        input_shape, output_shape: Shapes, batch included.

    Raises:
        ValueError: if LiteRT cannot read or prepare the file, or it has
            several inputs or outputs.

    Example:

    >>> LiteRTModel("student.tflite")(pictures).shape
    (2, 256, 256, 3)
    """

    def __init__(
        self, path: str | os.PathLike, threads: int = 1, xnnpack: bool = True
    ):
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        kernels = (
            OpResolverType.AUTO
            if xnnpack
            else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        )
        try:
            with silenced():
                self._interpreter = Interpreter(
                    os.fspath(path),
                    num_threads=threads,
                    experimental_op_resolver_type=kernels,
                )
                self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise ValueError(
                f"LiteRT cannot run '{path}': {error}. Is it a whole .tflite "
                "file of built-in operations?"
            ) from error
        self._input = _only(self._interpreter.get_input_details(), path)
        self._output = _only(self._interpreter.get_output_details(), path)
        self.input_shape = tuple(map(int, self._input["shape"]))
        self.output_shape = tuple(map(int, self._output["shape"]))

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Runs samples one batch of the file after the other.

        Args:
            inputs: Shape `(n, ...)`, `n` a multiple of the file's batch size.

        Returns: float32 array with `n` results.

        Raises:
            ValueError: for another shape.
            RuntimeError: if an operation refuses the values.
        """
        inputs = np.asarray(inputs, "float32")
        batch = self.input_shape[0]
        if inputs.shape[1:] != self.input_shape[1:] or len(inputs) % batch:
            raise ValueError(
                f"The file takes batches of shape {self.input_shape}. "
                f"Received: shape {inputs.shape}. Resize the inputs, or "
                "convert the model again for this size."
            )
        pieces = range(0, len(inputs), batch)
        return np.concatenate(
            [self._run(inputs[i : i + batch]) for i in pieces]
        )

    def _run(self, inputs):
        self.set_input(inputs)
        self.invoke()
        output = self._interpreter.get_tensor(self._output["index"])
        scale, zero = self._output["quantization"]
        output = output.astype("float32")
        return (output - zero) * np.float32(scale) if scale else output

    def set_input(self, inputs: np.ndarray) -> None:
        """Hands over one batch; `invoke` then computes, for timing."""
        scale, zero = self._input["quantization"]
        kind = self._input["dtype"]
        if scale:
            limits = np.iinfo(kind)
            inputs = np.round(inputs / scale + zero)
            inputs = np.clip(inputs, limits.min, limits.max)
        self._interpreter.set_tensor(self._input["index"], inputs.astype(kind))

    def invoke(self) -> None:
        """Computes once, on the input that was set."""
        self._interpreter.invoke()


def _only(details, path):
    if len(details) != 1:
        raise ValueError(
            "Only files with one input and one output are supported. "
            f"Received: '{path}' with {[tensor['name'] for tensor in details]}."
        )
    return details[0]
