"""The process that does work for clients on other machines: `trtpipe agent`.

It performs what `building` performs, on a machine that has neither the project nor its plan. How clients find agents
and send work is in `fleet`, not here.
"""
