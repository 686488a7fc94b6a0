"""Forests as arrays: leaves fitted together, and trees chosen together."""
