"""`microlam` and `python -m microlam`. Written for Python 3.8 and later, to say which one it needs."""
import sys


def main() -> int:
    """Run the command line, if this Python can."""
    if sys.version_info < (3, 11):  # noqa: UP036  the decorators are installed on older ones, with --ignore-requires-python
        sys.exit(f"microlam needs Python 3.11 or newer; this is Python {sys.version_info[0]}.{sys.version_info[1]}.")
    from microlam.cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
