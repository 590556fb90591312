"""The command line: arguments in, text and exit codes out, one module for each command.

Belongs here: options, progress and the words of a result. What a command does is in the rooms below.
"""
