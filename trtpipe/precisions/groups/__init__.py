"""Which nodes a search lowers or keeps together, found in a model and in a precision's plan for it."""
