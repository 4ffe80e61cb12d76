"""Let `python -m acmeiot` do what the `acmeiot` command does."""

import sys

from acmeiot.cli import main

if __name__ == "__main__":
    sys.exit(main())
