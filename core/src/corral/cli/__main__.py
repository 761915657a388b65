"""``python -m corral.cli``."""

from corral.cli import main

if __name__ == "__main__":
    main()
