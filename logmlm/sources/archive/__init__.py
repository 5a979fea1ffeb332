"""Finished logs, read once."""
