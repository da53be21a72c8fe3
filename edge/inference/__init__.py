"""The only place that knows TensorFlow Lite: a model, its card, and running it."""
