"""The traffic lab: real programs over emulated links on one machine, every flow's truth known as the lab started it."""


class LabError(Exception):
    """One line that says what is wrong, where, and what to do."""
