"""Facts, plan, actions: how the results that a spec asks for are made or found, and what the lockfile says of them.

    facts.py, planned.py       what a plan needs to know, and the plan with its decisions
    steps.py, performer.py     the one way to bring steps up to date, and how an action is performed
    build.py, frozen.py        `plan` and `build`; a build that is kept to its lockfile
    lock_*.py                  what the lockfile is held against, refuses and is given

Belongs here: what every command that needs a step's result goes through. Jobs that use it are in `app/`.
"""
