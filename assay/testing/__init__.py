"""Suites and toy data for authors of plug-ins: shipped, public, and what Assay's own tests run."""
