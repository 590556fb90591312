"""The provenance of an engine: its manifest, and standard documents (in-toto, SLSA, CycloneDX).

Belongs here: documents that are derived from traces alone. No file is read here.
"""
