"""The entry point of the action's images: the runner starts it with the inputs in the environment."""

import os
import sys

from navigator.action.main import main

if __name__ == "__main__":
    sys.exit(main(os.environ))
