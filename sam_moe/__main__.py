"""`python -m sam_moe`, for launchers that start modules (torchrun, `accelerate launch -m`)."""

from sam_moe.cli import main

if __name__ == "__main__":
    main()
