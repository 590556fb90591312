"""Numbers and what follows from them: comparing outputs with a reference, thresholds, verdicts, times, statistics.

Belongs here: functions of arrays and records. Knows no model, no runner and no file.
"""
