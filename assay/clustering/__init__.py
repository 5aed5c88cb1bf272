"""Clustering: groups found without a target, judged by evidence of several kinds, served as one graph."""
