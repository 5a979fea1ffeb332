"""The program that `logmlm run` starts."""
