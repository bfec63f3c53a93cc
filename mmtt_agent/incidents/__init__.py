"""From flows to incidents: evidence over connections, for any source of verdicts."""

from .budget import Budget
from .features import FEATURES
from .model import IncidentModel, UnitModel
from .records import Flows, Incident, Try
from .settings import OTHERS, Settings
from .table import UNITS
from .tracker import LATENESS, Tracker
from .waiting import EPOCH

__all__ = [
    "EPOCH",
    "FEATURES",
    "LATENESS",
    "OTHERS",
    "UNITS",
    "Budget",
    "Flows",
    "Incident",
    "IncidentModel",
    "Settings",
    "Tracker",
    "Try",
    "UnitModel",
]
