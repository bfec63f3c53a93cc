"""What runs in production: capture reader, features, classifier and the agent that serves Zeek."""

__version__ = "0.1.0"
