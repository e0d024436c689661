"""Condense a large image dataset into a few synthetic images per class.

>>> import condense
>>> data = condense.load("mnist5k")
>>> small = condense.condense(data, "dsa", ipc=1)
>>> print(condense.evaluate(small, data))

Names are imported on first use, so `import condense` is fast.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
