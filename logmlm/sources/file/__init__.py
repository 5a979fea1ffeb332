"""Files that are followed."""
