"""How a training goes, for TensorBoard: a figure of each kind per epoch."""

from __future__ import annotations

import math
from pathlib import Path


class Board:
    """Writes to ``directory``, or nothing where that is None. What an interrupted training wrote after ``epoch`` is not shown.

    Raises:
        ModuleNotFoundError: tensorboard is not installed.
    """

    def __init__(self, directory: Path | None, epoch: int) -> None:
        self.writer = None
        if directory:
            # Imported here, as it is an extra of its own.
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(directory), purge_step=epoch + 1)

    def write(self, epoch: int, figures: dict) -> None:
        """``figures``: numbers by name, in dicts within dicts if need be; what is no finite number is left out."""
        if self.writer:
            self._write(epoch, figures, "")
            self.writer.flush()

    def _write(self, epoch: int, figures: dict, within: str) -> None:
        for name, value in figures.items():
            if isinstance(value, dict):
                self._write(epoch, value, f"{within}{name}/")
            elif isinstance(value, (int, float)) and math.isfinite(value):
                self.writer.add_scalar(f"{within}{name}", value, epoch)

    def close(self) -> None:
        if self.writer:
            self.writer.close()
