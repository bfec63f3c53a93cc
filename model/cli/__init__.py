"""Commands of the ``mmtt`` program that make models, one thin file each."""
