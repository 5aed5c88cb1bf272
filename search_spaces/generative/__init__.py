"""Generators of rows and pictures."""
