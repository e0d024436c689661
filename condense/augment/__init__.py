"""Differentiable Siamese augmentation."""
