"""Groups of nodes that a search lowers or keeps together, found from a model and a precision's plan for it."""
