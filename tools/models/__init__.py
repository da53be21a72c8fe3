"""The networks behind the models in `models/`, and how they become TensorFlow Lite files."""
