"""CARD.md of a model, and its pictures: from figures to Markdown."""
