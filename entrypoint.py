"""Where the container of the action begins: a runner starts the image with this, and with its inputs as variables."""

import os
import sys

from navigator.action.main import main

if __name__ == "__main__":
    sys.exit(main(os.environ))
