"""The activities a scenario can ask for: each module has a family of them, its table ACTIVITIES and serve(part),
act(part).

Modules import at their top only what every machine has; the programs are there when they run.
"""

from ..activity import Activity, collect

ACTIVITIES: dict[str, Activity] = collect(__name__, __path__, "ACTIVITIES", Activity)
