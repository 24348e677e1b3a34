"""Which detectors there are, with what settings, and which of river's are not run and why.

To add one: an entry here and its adapter. What stands here is tested by the same suite.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import river

from driftloop_detect.adapters import Adapter, Adwin, HddmA, HddmW, PageHinkley
from driftloop_detect.errors import DetectorRefused
from driftloop_detect.spec import DetectorSpec, Param

ANY: Final = (-math.inf, math.inf)
SHARE: Final = (0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Entry:
    """A detector that may be run."""

    made_by: str
    """Its class in river."""
    adapter: Callable[..., Adapter]
    defaults: Mapping[str, Param]
    domain: tuple[float, float]
    use: str


ENTRIES: Final[Mapping[str, Entry]] = {
    "page_hinkley": Entry(
        "PageHinkley",
        PageHinkley,
        # delta and threshold are in standard deviations of the value: river's own defaults mean something else
        # in every unit. alpha 1: with a fading sum the threshold would depend on the age of the stream.
        {"min_instances": 20, "delta": 0.75, "threshold": 5.0, "alpha": 1.0, "mode": "up"},
        ANY,
        "the mean loss of closed windows, standardised by the back-test; per item only for standardised values",
    ),
    "adwin": Entry(
        "ADWIN",
        Adwin,
        {"delta": 0.002, "clock": 32, "max_buckets": 5, "min_window_length": 5, "grace_period": 10},
        SHARE,
        "independent 0/1 errors; any other loss as a normal score, under a domain that says so",
    ),
    "hddm_a": Entry(
        "HDDMA",
        HddmA,
        {"drift_confidence": 0.001, "warning_confidence": 0.005, "two_sided_test": False},
        SHARE,
        "independent 0/1 errors, gradual changes",
    ),
    "hddm_w": Entry(
        "HDDMW",
        HddmW,
        {"drift_confidence": 0.001, "warning_confidence": 0.005, "lambda_val": 0.05, "two_sided_test": False},
        SHARE,
        "independent 0/1 errors, jumps only: most small changes are missed",
    ),
}

REFUSED: Final[Mapping[str, str]] = {
    "kswin": "alarms on streams that stand still and throws the window away that it means to keep; use adwin",
    "eddm": "alarms on streams that stand still; use hddm_a",
    "ddm": "the first error after a hundred right answers is drift to it, and a value above 1 raises; use hddm_a",
    "fhddm": "watches the wrong way: it alarms when errors become fewer; use hddm_a",
}


def spec(
    name: str,
    *,
    orientation: Literal[1, -1] = 1,
    domain: tuple[float, float] | None = None,
    **params: Param,
) -> DetectorSpec:
    """The complete spec of a detector of the catalogue; what is not given has the catalogue's default.

    Raises DetectorRefused for a name or a parameter that is not in the catalogue, with what is.
    """
    entry = _entry(name)
    if unknown := sorted(set(params) - set(entry.defaults)):
        raise DetectorRefused(f"{name} has no parameter {unknown[0]!r}; it has {', '.join(entry.defaults)}")
    low, high = domain or entry.domain
    if not low < high:
        raise DetectorRefused(f"the domain of {name} is from low to high, got [{low}, {high}]")
    if name in ("hddm_a", "hddm_w") and (low, high) != SHARE:
        raise DetectorRefused(f"{name} holds for values in [0, 1], got the domain [{low}, {high}]")
    # Of the default's type, so that 5 and 5.0 are one spec with one digest.
    whole = tuple((key, type(default)(params.get(key, default))) for key, default in sorted(entry.defaults.items()))
    return DetectorSpec(name, f"river-{river.__version__}:{entry.made_by}", whole, orientation, (low, high))


def adapter(spec: DetectorSpec) -> Adapter:
    """River's detector of this spec, fresh. Raises DetectorRefused when the spec is of another river."""
    entry = _entry(spec.name)
    here = f"river-{river.__version__}:{entry.made_by}"
    if spec.semantics != here:
        raise DetectorRefused(f"the spec asks for the alarms of {spec.semantics}, installed is {here}")
    return entry.adapter(**spec.settings)


def _entry(name: str) -> Entry:
    if name in REFUSED:
        raise DetectorRefused(f"{name} is not run: {REFUSED[name]}")
    if name not in ENTRIES:
        raise DetectorRefused(f"no detector {name!r}; there are {', '.join(ENTRIES)}")
    return ENTRIES[name]
