"""Packages as OCI images in ModelPack's media types: image layouts on disk, and pushing them to a registry."""
