"""The scenarios, by name."""

from .calm import Broadcast, Personal, Ramp, Soak, Steady
from .capacity import Capacity
from .scenario import Scenario
from .trouble import Abuse, Churn, Deploy, Slow, Storm

SCENARIOS: dict[str, type[Scenario]] = {
    each.name: each
    for each in (Steady, Ramp, Broadcast, Personal, Churn, Storm, Deploy, Slow, Abuse, Soak, Capacity)
}
