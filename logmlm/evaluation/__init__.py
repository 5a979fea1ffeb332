"""Labels, baselines and metrics."""
