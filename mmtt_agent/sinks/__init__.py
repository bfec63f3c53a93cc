"""Where lines go: standard output, a file that may be rotated, a Unix socket, Redis."""
