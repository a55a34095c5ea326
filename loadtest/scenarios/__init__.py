"""The scenarios, by name."""

from __future__ import annotations

from .abuse import Abuse
from .broadcast import Broadcast
from .capacity import Capacity
from .churn import Churn
from .deploy import Deploy
from .personal import Personal
from .ramp import Ramp
from .scenario import Scenario, Threshold
from .slow import Slow
from .soak import Soak
from .steady import Steady
from .storm import Storm

SCENARIOS: dict[str, type[Scenario]] = {
    each.name: each
    for each in (Steady, Ramp, Broadcast, Personal, Churn, Storm, Deploy, Slow, Abuse, Soak, Capacity)
}

__all__ = ["SCENARIOS", "Scenario", "Threshold"]
