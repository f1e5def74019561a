import keras


@keras.saving.register_keras_serializable("fritz_compress")
class DeprocessStylizedImage(keras.layers.Layer):
    """Turns the output of `tanh` into pixels: `(x + 1) * 127.5`.

    The last layer of a style transfer network. It has no weights and does not
    round or clip; values in `[-1, 1]` become values in `[0, 255]`. In a
    `.mlmodel` it may be a Core ML custom layer of the same name.

    Input shape: any.
    Output shape: the input shape.

    Example:

    >>> DeprocessStylizedImage()(keras.ops.array([-1.0, 0.0, 1.0]))
    [0.0, 127.5, 255.0]
    """

    def call(self, inputs):
        return (inputs + 1.0) * 127.5

    def compute_output_shape(self, input_shape):
        return input_shape
