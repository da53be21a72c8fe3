"""The networks behind the models in `models/`, and their conversion to TensorFlow Lite."""
