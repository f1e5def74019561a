"""A traced Keras graph as the TensorFlow graph of a Core ML program."""

from typing import Any

import keras

from fritz_compress import graph as graphs
from fritz_compress.convert import binary_kernels, export
from fritz_compress.convert.mil_kernels import SCOPE


def replayed(graph: graphs.Graph, source: Any, result: Any) -> Any:
    """The graph as a frozen TensorFlow `GraphDef` at batch size 1.

    coremltools recognizes our InstanceNormalization as it is. Keras' nearest
    upsampling would become repeats and transposes: one operation replaces it.
    A picture that leaves the program has its channels first.
    """
    import coremltools as ct
    import tensorflow as tf
    from tensorflow.python.framework import convert_to_constants

    _know_erfc()
    channels_first = isinstance(result, ct.ImageType)
    forms = {
        keras.layers.Conv2D: _convolution,
        keras.layers.UpSampling2D: export.upsampling,
    }
    special = binary_kernels.forms_of(graph)
    numbers = {node: i for i, node in enumerate(graph.nodes)}

    def call(node, *args, **kwargs):
        form = special.get(node) or forms.get(type(node.operation))
        with tf.name_scope(SCOPE.format(numbers[node])):
            if form is None:
                return export.call_layer(node, *args, **kwargs)
            return form(node.operation, *args, **kwargs)

    def replay(x):
        (outputs,) = keras.tree.flatten(graph.run([x], call))
        if channels_first:
            outputs = tf.transpose(outputs, (0, 3, 1, 2))
        return tf.identity(outputs, name=result.name)

    (tensor,) = graph.inputs
    signature = [tf.TensorSpec(tensor.shape, tensor.dtype, name=source.name)]
    function = tf.function(replay, input_signature=signature, autograph=False)
    with export.any_layer_names():
        concrete = function.get_concrete_function()
    frozen = convert_to_constants.convert_variables_to_constants_v2(
        concrete,
        lower_control_flow=False,
        aggressive_inlining=True,
    )
    return frozen.graph.as_graph_def(add_shapes=True)


def _know_erfc():
    """Teaches coremltools the operation in Keras' gelu."""
    from coremltools.converters.mil import Builder, register_tf_op

    @register_tf_op(override=True)
    def Erfc(context, node):
        value = Builder.erf(x=context[node.inputs[0]])
        context.add(node.name, Builder.sub(x=1.0, y=value, name=node.name))


def _convolution(layer, x):
    """Grouped ones without the compiled function that Keras puts them in."""
    if layer.groups == 1 or layer.data_format != "channels_last":
        return layer(x)
    x = export.grouped_convolution(layer, x, layer.kernel)
    return layer.activation(x + layer.bias if layer.use_bias else x)
