"""Which browser the tests drive: CHROMIUM, else a Chromium or Chrome of this machine. Prints its path, or fails."""
from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PLACES = ("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome", "/Applications/Chromium.app/Contents/MacOS/Chromium")


def find() -> str | None:
    """The path of a browser; None where there is none."""
    named = os.environ.get("CHROMIUM")
    if named:
        return named
    return next((path for name in NAMES if (path := shutil.which(name))), None) or next((place for place in PLACES if Path(place).exists()), None)


if __name__ == "__main__":
    browser = find()
    print(browser or "There is no Chromium or Chrome here.")
    sys.exit(browser is None)
