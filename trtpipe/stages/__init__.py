"""The stages: what one action does with its files.

    bodies.py        which function runs what, by name
    plan_stages.py   the steps of a plan: fetch, import, transform, calibrate, quantize, parse, validate, readback
    side_tasks.py    what runs in such a process too and is no step: previews, comparisons, first runs, benchmarks

Each function takes a task, writes into the task's directory and says what reports need to know. It runs in a process of
its own (`processes/`) and sees no store, no plan and no other action.
"""
