"""An application of a Django project: a clinic with organizations, on whose models tests lean."""
