"""A Django app with the standard row as a model, in an organization."""
