"""The commands of `trtpipe debug`: what each prints and which exit code it ends with.

The searches and comparisons themselves are in `app/debug`.
"""
