"""Tidy tables: one row, one observation."""
