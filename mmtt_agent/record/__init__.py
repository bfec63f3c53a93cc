"""The memory that a site may have of its windows: what was classified, and what the network knew of it."""
