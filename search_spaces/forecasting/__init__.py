"""Families that forecast series."""
