"""A buffer of condensed images that measures its time."""

from __future__ import annotations

import time
from typing import Any

from continual import CondensedBuffer


class TimedBuffer(CondensedBuffer):
    """A `CondensedBuffer` with the processor seconds of all condensations so far."""

    seconds = 0.0

    def select(self, strategy: Any, images: Any, images_per_class: int) -> Any:
        """As `CondensedBuffer`."""
        began = time.process_time()
        chosen = super().select(strategy, images, images_per_class)
        self.seconds += time.process_time() - began
        return chosen
