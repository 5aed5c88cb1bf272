"""Series over time: stamps to a regular grid, windows of it, and forecasts that are judged on what came later."""
