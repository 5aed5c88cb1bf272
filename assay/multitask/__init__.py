"""Several targets in one job: what they are, how they are judged, learned together and delivered in one graph."""
