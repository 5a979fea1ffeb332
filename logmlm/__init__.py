"""logmlm learns the language of a system's own logs and says when a line does not belong."""

from importlib.metadata import version

__version__ = version("logmlm")
