"""`python -m microlam` is `microlam`."""
import sys

from microlam.cli import main

if __name__ == "__main__":
    sys.exit(main())
