"""Samples that come one after the other, kept in unnamed temporary files so that they can be drawn in any order."""
