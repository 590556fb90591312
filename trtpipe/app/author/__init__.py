"""Specs and models in their authors' hands: a first spec, export, migration, a look at data, the matrix for CI."""
