"""Scores to notifications."""
