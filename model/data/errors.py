"""What is wrong with what a user gave."""


class DatasetError(Exception):
    """Data that can't be used; one line that names the file, what is wrong and the remedy."""
