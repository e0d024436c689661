"""Condense a large image set into a handful of synthetic images per class.

>>> import condense
>>> data = condense.load("mnist5k")
>>> small = condense.condense(data, "dsa", ipc=1)
>>> print(condense.evaluate(small, data))

Names are imported when they are first used, so that `import condense` costs nothing.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
