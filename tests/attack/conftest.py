"""The world of the attacks, for pytest."""

from attack_world import world

__all__ = ["world"]
