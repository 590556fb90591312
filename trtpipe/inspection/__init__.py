"""What a model or an engine file is, for a reader who has only the file; and a first spec for a model.

Data to data: nothing here builds, runs or writes.
"""
