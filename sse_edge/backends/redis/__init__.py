"""The Redis backend: the only place that imports redis."""
