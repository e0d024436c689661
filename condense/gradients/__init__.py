"""Per-class gradients, and distances between them."""
