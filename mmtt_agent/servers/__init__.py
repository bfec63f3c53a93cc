"""What a server's name says: the service that it gives and whose it is. Facts and rules in the YAML files beside this
one; README.md there says how to read them and add to them.
"""

from .names import Answer, Servers, ServersError, named, shipped

__all__ = ["Answer", "Servers", "ServersError", "named", "shipped"]
