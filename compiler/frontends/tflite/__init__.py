"""TensorFlow Lite: `.tflite` files (FlatBuffers of schema version 3)."""
