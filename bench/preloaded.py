"""Imports what a run of the suites takes, in the process that `bench.apart` forks runs from: once for all of them."""

import importlib

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
