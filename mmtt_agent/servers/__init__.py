"""What a server's name says: the service that it gives and whose it is. Facts and rules are in the YAML files
beside this one; the head of roles.yaml says how they are read and added to.
"""

from .names import Answer, Servers, ServersError, named, shipped

__all__ = ["Answer", "Servers", "ServersError", "named", "shipped"]
