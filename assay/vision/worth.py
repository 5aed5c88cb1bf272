"""When another net is worth its time; read by jobs that are planned and by nets that are trained, so it imports nothing."""

WORTH = 0.25  # share of the best trial's time with which another net is worth beginning
