"""From a model to a new model whose numbers take fewer bits."""
