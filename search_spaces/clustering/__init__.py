"""Families of clusterings."""
