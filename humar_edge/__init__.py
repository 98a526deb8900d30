"""Referring human pose and mask estimation on small machines.

A prompt picks one person in a picture; the answer is 17 COCO keypoints, a box and a mask.
"""

from __future__ import annotations

__version__ = "0.1.0"
