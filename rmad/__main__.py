"""`python -m rmad`: the configuration, and a check of the installation."""

from __future__ import annotations

import sys

from rmad.self_check import main

if __name__ == "__main__":
    sys.exit(main())
