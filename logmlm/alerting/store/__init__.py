"""The database of alerts and notifications."""
