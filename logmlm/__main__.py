"""`python -m logmlm`, which is also how `torchrun -m logmlm train …` starts it."""

from logmlm.cli.main import main

main()
