"""What reports draw: bars, plots of measured values, the graph of a plan."""
