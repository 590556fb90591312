"""`python -m trtpipe`."""

from trtpipe.cli.main import main

main()
