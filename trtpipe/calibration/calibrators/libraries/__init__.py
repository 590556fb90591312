"""How libraries' calibrators are driven: what they are fed, and how their amax become scales."""
