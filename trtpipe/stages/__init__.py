"""The stages' bodies: what one action does with its files.

Each takes a Task and the plug-ins it names, writes its outputs into the task's directory and says what reports
need to know. They run in a process of their own and see no store, no plan and no other action.
"""
