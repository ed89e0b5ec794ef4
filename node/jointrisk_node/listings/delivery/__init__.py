"""What waits for the coordinator: entries to be appended, marks, renewals. Sent until they are acknowledged."""

from jointrisk_node.listings.delivery.delivering import Delivery, ListingCalls
from jointrisk_node.listings.delivery.ledger import DeliveryLedger

__all__ = ["Delivery", "DeliveryLedger", "ListingCalls"]
