"""Generators of rows and pictures: how data become parts, how samples are drawn, judged and delivered."""
