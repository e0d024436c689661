"""Continual learning with a condensed memory: EEIL and replay buffers for Avalanche.

Names are imported at first use, because the import of Avalanche takes many seconds.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
