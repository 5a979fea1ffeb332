"""The commands: each module holds a few, and imports what is heavy only when one runs."""
