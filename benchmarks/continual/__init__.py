"""Measurements of replay memories."""
