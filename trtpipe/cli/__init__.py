"""The command line: arguments in, text and exit codes out, one module for each command.

This room defines options, shows progress and prints results. What a command does is in the other rooms.
"""
