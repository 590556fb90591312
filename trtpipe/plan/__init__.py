"""The plan as pure data: steps, fingerprints, traces, decisions, and the ports that effects implement."""
