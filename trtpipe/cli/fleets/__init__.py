"""Commands about fleets: agents, schedulers, certificates, and how other commands use a fleet.

What they print and which exit code they end with is decided here; what a fleet does is in `fleet`, `hosts` and `agent`.
"""
