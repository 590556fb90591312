"""Makes or finds the results that a spec asks for, and compares them with the lockfile.

    facts.py, planned.py       the facts that a plan is made from, and the plan with its decisions
    steps.py, performer.py     the one way to bring steps up to date, and how an action is performed
    build.py, frozen.py        `plan` and `build`; a build that is kept to its lockfile
    lock_*.py                  comparing with the lockfile, refusing differences, writing it

Every command that needs the result of a step uses this room. The jobs built on it are in `app/`.
"""
