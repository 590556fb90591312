"""Results as text: tables, lines, graphs and JSON for the terminal.

Belongs here: functions from results to strings. Nothing here prints; pages and files of a build are in `reports/`.
"""
