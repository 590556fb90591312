"""The parts of a build's page that only some builds have: bundles, a fleet's machines, where the time went."""
