"""What machines of a fleet and their clients exchange: artifacts by digest, over connections that certificates protect.

An agent runs actions for clients on other machines. Artifacts travel straight between the two, never by way of the
scheduler that hands out the actions.
"""
