"""`python -m sam_moe`, for launchers that start modules (torchrun, `accelerate launch -m`)."""

import sys

from sam_moe.cli import main

if __name__ == "__main__":
    sys.exit(main())
