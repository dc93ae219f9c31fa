"""Literal, slow versions of the formulas."""
