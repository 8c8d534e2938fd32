"""A twin whose own timer fails a moment after it was asked something: run as a program, it is served like any other.

python -m tests.bench.failing_twin --listen tcp:127.0.0.1:0
"""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

from twins import models
from twins.clock import Clock
from twins.meters import ami_meter


def build(clock: Clock, *args: Any, **kwargs: Any) -> Any:
    """A meter, and a timer of its maker that divides by zero."""
    meter = ami_meter.build(clock, *args, **kwargs)
    clock.call_later(1.0, lambda: 1 // 0)
    return meter


MODEL = dataclasses.replace(ami_meter.MODEL, build=build)

if __name__ == "__main__":
    from bench import cli

    models._WHERE["ami-meter"] = "tests.bench.failing_twin"
    sys.exit(cli.run(["twin", "ami-meter", *sys.argv[1:]]))
