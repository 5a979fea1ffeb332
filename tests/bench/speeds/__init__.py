"""The benchmarks that `speed.py` runs, one a module; each has `measure(options) -> Figure`."""
