"""Three networks; the second is too deep for small images."""

from __future__ import annotations

from condense import Network
from nas import Space

SPACE = Space([Network(depth=1, width=8), Network(depth=4, width=8), Network(depth=1, width=16)])
