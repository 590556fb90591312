"""What the user wrote, as validated and frozen models.

Belongs here: fields, their types and their limits. Nothing here reads a file or knows TensorRT; YAML is read in
`loader/`.
"""
