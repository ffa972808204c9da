"""Decisions about prescriptions as pure functions: states, numbers, checks, courses, resources."""
