"""The command line: arguments in, text and exit codes out. Everything it does is in the layers below."""
