"""Imports what a run of the suites takes, in the process that `bench.apart` forks runs from: once for all of them."""

import gc
import importlib
import sys
from pathlib import Path

from twins import models

_WHOLE = (
    *("bench.bench", "bench.browsing", "bench.certify", "bench.cli", "robot.run"),
    *("twins.mirror.server", "twins.utility.utility", "twins.utility.website.website"),
)

for name in _WHOLE:
    importlib.import_module(name)
for model in models.names():
    twin = models.find(model).build.__module__
    importlib.import_module(twin.replace("twins.", "drivers.", 1))  # a driver is named as its twin

# Robot imports keyword libraries by their path, which it finds done where a module of that name and path is there.
_KEYWORDS = Path(__file__).resolve().parents[1] / "robot" / "keywords"
sys.path.append(str(_KEYWORDS))
for library in sorted(_KEYWORDS.glob("*.py")):
    importlib.import_module(library.stem)
sys.path.remove(str(_KEYWORDS))

# What is here now stays: no run looks through it for garbage, nor copies its pages for that.
gc.collect()
gc.freeze()
