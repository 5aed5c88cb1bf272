"""Quantiles of a number, calibrated so that they hold as often as they say."""
