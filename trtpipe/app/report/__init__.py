"""Reporting a build: reads what was delivered and writes the report's pages.

The content of the pages is made in `reports/`.
"""
