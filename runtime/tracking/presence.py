"""Whether the person is there, without flicker."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Presence:
    """State of a `PresenceTracker` after a frame.

    Attributes:
        state: "searching" (never seen yet), "found" or "lost".
        since_s: Time of the source at which this state began, seconds.
        event: "found" or "lost" on the frame on which it happens, else None.
    """

    state: str
    since_s: float
    event: str | None = None

    @property
    def found(self) -> bool:
        """Whether the person counts as present."""
        return self.state == "found"


class PresenceTracker:
    """Hysteresis on the presence score.

    Args:
        on: Score from which a person is found, in [0, 1].
        off: Score below which a found person may be lost; None: 0.6 times `on`.
        found_after_s: How long the score must stay at or above `on`.
        lost_after_s: How long the score must stay below `off`.
    """

    def __init__(
        self, on: float, off: float | None = None, *, found_after_s: float = 0.0, lost_after_s: float = 0.3
    ) -> None:
        self._on, self._off = on, 0.6 * on if off is None else off
        self._found_after_s, self._lost_after_s = found_after_s, lost_after_s
        self._now: Presence | None = None
        self._turning_since: float | None = None

    def update(self, score: float, time_s: float) -> Presence:
        """Take the score of a frame at a time in seconds."""
        if self._now is None:
            self._now = Presence("searching", time_s)
        found = self._now.found
        turning = score < self._off if found else score >= self._on
        if not turning:
            self._turning_since = None
        elif self._turning_since is None:
            self._turning_since = time_s
        patience = self._lost_after_s if found else self._found_after_s
        if self._turning_since is not None and time_s - self._turning_since >= patience:
            state = "lost" if found else "found"
            self._turning_since = None
            self._now = Presence(state, time_s)
            return Presence(state, time_s, event=state)
        return self._now
