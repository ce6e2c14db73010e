"""Patients, visits and results of several clinics."""
