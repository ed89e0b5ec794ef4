"""Key ceremonies at the coordinator: a bulletin board that proposes, keeps what is posted, and decides nothing."""

from jointrisk_coordinator.ceremonies.board import BulletinBoard

__all__ = ["BulletinBoard"]
