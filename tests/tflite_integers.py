"""The integers of a `.tflite` file, read with the schema alone."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema

_TYPES = {
    schema.TensorType.INT4: (4, "int8"),
    schema.TensorType.INT8: (8, "int8"),
    schema.TensorType.INT16: (16, "int16"),
    schema.TensorType.INT32: (32, "int32"),
    schema.TensorType.INT64: (64, "int64"),
}
_KERNELS = {
    schema.BuiltinOperator.CONV_2D: (1, 2),
    schema.BuiltinOperator.DEPTHWISE_CONV_2D: (1, 2),
    schema.BuiltinOperator.FULLY_CONNECTED: (1, 2),
    schema.BuiltinOperator.TRANSPOSE_CONV: (1, 3),
}


def operations(content):
    """Names of the operations in the order in which they run."""
    names = {
        value: name
        for name, value in vars(schema.BuiltinOperator).items()
        if isinstance(value, int)
    }
    model = _model(content)
    codes = [code.builtinCode for code in model.operatorCodes]
    return [
        names[codes[operator.opcodeIndex]]
        for operator in model.subgraphs[0].operators
    ]


def layers(content):
    """Kernel, scale, bias and bits of each layer, in the order of the file.

    Kernels have their output channels last, as `quantization.integers` does.
    """
    model = _model(content)
    tensors = model.subgraphs[0].tensors
    for operator in model.subgraphs[0].operators:
        code = model.operatorCodes[operator.opcodeIndex].builtinCode
        if code in _KERNELS:
            kernel, bias = _KERNELS[code]
            tensor = tensors[operator.inputs[kernel]]
            values = _values(model, tensor)
            if code != schema.BuiltinOperator.DEPTHWISE_CONV_2D:
                values = np.moveaxis(values, 0, -1)
            bias = tensors[operator.inputs[bias]]
            yield (
                values,
                np.asarray(tensor.quantization.scale),
                _values(model, bias),
                _TYPES[tensor.type][0],
            )


def activations(content):
    """Scale and zero point of every tensor that is computed."""
    model = _model(content)
    part = model.subgraphs[0]
    computed = [i for o in part.operators for i in o.outputs]
    found = set()
    for index in computed:
        quantization = part.tensors[index].quantization
        if quantization is not None and quantization.scale is not None:
            found.add(
                (float(quantization.scale[0]), int(quantization.zeroPoint[0]))
            )
    return sorted(found)


def equal(own, content):
    """How many of our integers are in a file, by kind, as "found/all".

    Args:
        own: What `quantization.integers` returned.
        content: Bytes of the file.
    """
    left = list(layers(content))
    kernels = biases = 0
    for layer in own.layers.values():
        for i, (kernel, scale, bias, nbits) in enumerate(left):
            if (
                nbits == layer.nbits
                and kernel.size == layer.kernel.size
                and np.array_equal(kernel.ravel(), layer.kernel.ravel())
                and np.allclose(scale, layer.scale, rtol=1e-6, atol=0)
            ):
                kernels += 1
                # The converter gives a layer without a bias one of zeros.
                expected = 0 if layer.bias is None else layer.bias
                biases += bool(np.all(bias == expected))
                del left[i]
                break
    found = activations(content)
    ranges = sum(
        any(
            abs(scale / layer.scale - 1) < 1e-6 and zero == layer.zero_point
            for scale, zero in found
        )
        for layer in own.activations.values()
    )
    return {
        "equal_kernels": f"{kernels}/{len(own.layers)}",
        "equal_biases": f"{biases}/{len(own.layers)}",
        "equal_activations": f"{ranges}/{len(own.activations)}",
    }


def _model(content):
    return schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))


def _values(model, tensor):
    bits, kind = _TYPES[tensor.type]
    data = bytes(bytearray(model.buffers[tensor.buffer].data))
    if bits == 4:
        pairs = np.frombuffer(data, "uint8")
        nibbles = np.stack([pairs & 15, pairs >> 4], axis=-1).ravel()
        values = np.where(nibbles > 7, nibbles.astype(int) - 16, nibbles)
        values = values[: int(np.prod(tensor.shape))].astype("int8")
    else:
        values = np.frombuffer(data, kind)
    return values.reshape(tensor.shape)
