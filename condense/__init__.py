"""Condense a large image dataset into a few synthetic images per class.

>>> import condense
>>> data = condense.load("digits")
>>> small = condense.condense(data, "dsa", preset="smoke", ipc=1)
>>> small.images.shape
torch.Size([10, 1, 8, 8])
>>> accuracy = condense.evaluate(small, data, preset="smoke")
>>> len(accuracy.values)
2

Names are imported on first use, so `import condense` is fast.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
