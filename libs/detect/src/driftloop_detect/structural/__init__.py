"""Checks on the features alone, without labels: null, unseen, out of range, stale, unlike the sibling segments.

They act long before the loss does, which finds 2 of 12 such faults in four weeks. Their advice is always to fix the
pipeline: a retrain would learn the fault.
"""

from driftloop_detect.structural.checks import Check
from driftloop_detect.structural.reference import Reference
from driftloop_detect.structural.watch import ADVICE, Finding, StructuralState, StructuralWatch

__all__ = ["ADVICE", "Check", "Finding", "Reference", "StructuralState", "StructuralWatch"]
