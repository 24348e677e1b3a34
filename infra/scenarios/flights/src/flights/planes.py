"""What is known of an aircraft: told once, at the start, and never stale."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flights.features import PLANE_FIELDS

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Planes:
    """One row an aircraft, by tail number; NaN where the registry says nothing."""

    tailnum: npt.NDArray[Any]
    values: dict[str, Floats]

    def of(self, tailnum: npt.NDArray[Any]) -> dict[str, Floats]:
        """The plane features of each asked tail number, NaN for one that is unknown or missing."""
        row = {tail: at for at, tail in enumerate(self.tailnum)}
        at = np.array([row.get(tail, -1) for tail in tailnum])
        return {name: np.where(at >= 0, self.values[field][at], np.nan) for name, field in PLANE_FIELDS.items()}


def planes_of(planes: pa.Table) -> Planes:
    """Every row of the table."""
    tailnum = np.array(planes["tailnum"].to_pylist(), dtype=object)
    return Planes(tailnum, {field: planes[field].to_numpy() for field in PLANE_FIELDS.values()})
