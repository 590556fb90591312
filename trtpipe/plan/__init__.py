"""What must be done and in which order: steps, fingerprints, traces, decisions, the rebuilder, the scheduler.

Belongs here: the plan as data and the decisions about it, with the ports (`ports.py`) that effects implement. Making a
plan of a spec is in `planner/`; nothing here reads a file or starts a process.
"""
