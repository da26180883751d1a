"""Figures from processes of their own: the spinning threads of one contender's BLAS would slow the others down."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any


def work(script: str, worker: str, *options: str) -> dict[str, Any]:
    """Returns the figures that `script --worker WORKER` prints as JSON; {} if the worker's library is not installed."""
    command = [sys.executable, script, "--worker", worker, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{worker}: left out ({(done.stderr.strip().splitlines() or ['no output'])[-1]})", file=sys.stderr)
        return {}
    return json.loads(done.stdout.splitlines()[-1])
