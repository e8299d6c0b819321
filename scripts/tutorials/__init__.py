"""Runs the commands of the documentation's pages."""
