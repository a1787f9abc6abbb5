"""What the road from frames to scores costs: `python -m experiments.benchmarks train --quick`."""
