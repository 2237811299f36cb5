"""Figures: from a table to a matplotlib Figure."""
