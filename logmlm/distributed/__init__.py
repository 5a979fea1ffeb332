"""Parsing and scoring on Ray."""
