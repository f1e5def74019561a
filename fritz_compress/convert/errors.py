class ConversionError(ValueError):
    """A model could not be written, or its file does not agree with Keras.

    Nothing is left on disk when it is raised.
    """
