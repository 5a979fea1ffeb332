"""Sinks: one module for each kind of receiver, and `registry` with all of them."""
