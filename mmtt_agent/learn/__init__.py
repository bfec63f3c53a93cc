"""A site's own answers, learnt from what its own sensor says of its traffic."""
