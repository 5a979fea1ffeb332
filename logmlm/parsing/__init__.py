"""Lines to events: formats, masks, keys, templates."""
