"""`python -m imgctl_cli` is `imgctl`."""

import sys

from imgctl_cli.main import main

if __name__ == "__main__":
    sys.exit(main())
