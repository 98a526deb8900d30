"""Following one person from frame to frame: smoothing, presence, region of interest."""

from __future__ import annotations

from humar_edge.runtime.tracking.follow import PersonTracker, follow_points
from humar_edge.runtime.tracking.one_euro import OneEuroFilter
from humar_edge.runtime.tracking.presence import Presence, PresenceTracker
from humar_edge.runtime.tracking.region import Region, RegionOfInterest

__all__ = [
    "OneEuroFilter",
    "PersonTracker",
    "Presence",
    "PresenceTracker",
    "Region",
    "RegionOfInterest",
    "follow_points",
]
