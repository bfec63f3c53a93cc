"""From flows to incidents: evidence over connections, for any source of verdicts."""

from .model import IncidentModel, UnitModel
from .records import Flows, Incident, Try
from .settings import Settings
from .tracker import LATENESS, Tracker

__all__ = ["LATENESS", "Flows", "Incident", "IncidentModel", "Settings", "Tracker", "Try", "UnitModel"]
