"""Verdicts and incidents as one page that needs nothing else: to be read offline, and handed on."""
