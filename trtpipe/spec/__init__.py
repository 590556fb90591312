"""The spec language: what users write in YAML, as validated, frozen pydantic models.

Belongs here: fields, their types and their limits. Nothing here reads a file or knows TensorRT; YAML is read in
`loader/`.
"""
