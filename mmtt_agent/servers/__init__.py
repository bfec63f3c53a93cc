"""What a server's name says: the service that it gives and whose it is. Facts and rules are in the YAML files
beside this one; the head of roles.yaml says how they are read and added to.
"""

from .names import Answer, Servers, ServersError, named, shipped
from .own import add_domain, can_be_service, own_domains

__all__ = [
    "Answer",
    "Servers",
    "ServersError",
    "add_domain",
    "can_be_service",
    "named",
    "own_domains",
    "shipped",
]
