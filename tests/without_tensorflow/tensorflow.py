"""In place of TensorFlow, as if it were not installed: to be first on the path."""

raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")
