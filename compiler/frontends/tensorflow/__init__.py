"""TensorFlow: frozen graphs (binary or text) and SavedModels of TensorFlow 1 and 2."""
