"""Continual learning with a condensed memory: EEIL and rehearsal buffers for Avalanche.

Names are imported when they are first used, because Avalanche takes many seconds.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
