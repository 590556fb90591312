"""The stages of a plan: the functions that do the work of an action.

    bodies.py        the table of functions by name
    plan_stages.py   the steps of a plan: fetch, import, transform, calibrate, quantize, parse, validate, readback
    side_tasks.py    work in such a process that is no step: previews, comparisons, first runs, benchmarks

Each function takes a task, writes files into the task's directory and returns a summary for reports. It runs in a
process of its own (`processes/`) and has no access to the store, the plan or other actions.
"""
