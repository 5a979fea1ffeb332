"""From normal logs to a model directory."""
