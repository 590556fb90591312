"""Questions to git about a project: which commit changed a line, and a file's content in a revision. Read-only.

What follows from the answer is decided by the callers.
"""
