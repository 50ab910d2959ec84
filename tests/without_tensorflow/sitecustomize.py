"""Python reads this when it starts with this folder on its path: TensorFlow is then as if it were not installed."""

import sys

sys.modules["tensorflow"] = None
