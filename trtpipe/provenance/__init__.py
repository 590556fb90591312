"""Where an engine came from: its manifest, and statements in the field's formats (in-toto, SLSA, CycloneDX).

Belongs here: documents made of traces alone. No file is read here.
"""
