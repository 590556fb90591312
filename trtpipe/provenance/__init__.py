"""Where an engine came from, in the field's own formats: in-toto and SLSA, CycloneDX. Data to data: no file is read."""
