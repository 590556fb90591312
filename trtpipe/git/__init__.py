"""What git knows of a project: which commit changed a line, what a file held in a revision. Git only reads here.

Does not belong here: what follows from the answer, which is for the caller to say.
"""
