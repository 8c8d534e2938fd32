"""What the supplier declares of a device: supported features (PICS) and the values a test needs (PIXIT).

One file a device under `inventory/pics`. Nothing but such a declaration makes a requirement not applicable.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from bench.data import BadInput, checked, nearest, read

DIRECTORY = Path(__file__).resolve().parents[2] / "inventory" / "pics"


class Feature(BaseModel):
    """One feature: whether the device has it, and which requirements rest on it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    supported: bool
    means: str
    ids: tuple[str, ...] = ()


class Pics(BaseModel):
    """A supplier's declaration for one device. `system` is the name under which it is judged."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    system: str
    model: str
    supplier: str
    declared: str = Field(description="who signed and when")
    features: dict[str, Feature]
    pixit: dict[str, bool | int | float | str] = {}

    def feature(self, name: str) -> Feature:
        """A feature as declared; BadInput with the nearest name where it isn't mentioned at all."""
        if name not in self.features:
            raise BadInput(f"the PICS of {self.model} say nothing of {name!r}; {nearest(name, list(self.features))}")
        return self.features[name]

    def supports(self, name: str) -> bool:
        """Whether the device is declared to have a feature."""
        return self.feature(name).supported

    def value(self, name: str) -> bool | int | float | str:
        """A PIXIT value; BadInput with the nearest name where it isn't given."""
        if name not in self.pixit:
            raise BadInput(f"the PIXIT of {self.model} give no {name!r}; {nearest(name, list(self.pixit))}")
        return self.pixit[name]


def load(name: str, directory: Path = DIRECTORY) -> Pics:
    """Read and check `<directory>/<name>.yaml`. BadInput names file, line, key and what would be right."""
    path = directory / f"{name}.yaml"
    data, node = read(path)
    return checked(path, node, data, Pics)
