"""Formats results as text for the terminal: tables, lines, graphs and JSON.

Belongs here: functions that format results as strings. Nothing here prints; a build's pages and report files are in
`reports/`.
"""
