"""What a model or an engine file is, how two of them differ (`diff/`), and a first spec for a model.

Belongs here: descriptions made of data that was read already. Nothing here builds, runs or writes.
"""
