"""What difflr costs: `python benchmarks/run.py` measures it and writes docs/cost.md."""
