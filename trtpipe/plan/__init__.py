"""What must be done and in which order: steps, fingerprints, traces, decisions, the rebuilder, the scheduler.

Belongs here: the plan as data, the decisions about it, and the interfaces (`ports.py`) through which it reaches the
outside world. `planner/` turns a spec into a plan. Nothing here reads a file or starts a process.
"""
