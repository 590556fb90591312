"""Runners infer: they take inputs by name and give outputs by name. What validation makes of them is here too."""
