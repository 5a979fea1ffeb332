"""Sections of the configuration files, and how they are loaded."""
