"""Six ways to fine-tune, compared on three pairs of pretrained network and data: `python -m benchmarks.comparison`."""
