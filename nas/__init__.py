"""Architecture search on proxy sets: a search space, proxies, and the quality of their rankings.

>>> from condense import Network
>>> from nas import Space, convnets
>>> len(convnets()), len(Space([Network(depth=1), Network(depth=2)]))
(720, 2)

Names are imported on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
