"""Packages: engines of all targets in one directory or archive, with an index that a loader understands.

`index` has the types of `index.json`, `index_file` reads and writes it; both are light, because `select` reads an index
where engines run. `cells` and `contents` collect what is built; `directory` and `archive` write it; `verification` and
`signatures` check it before it is used. `triton` makes a model repository of it, `oci` an image for registries.
"""
