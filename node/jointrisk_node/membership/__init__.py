"""The node's own membership: its keys, the roster that it believes, members that its people approve and accept.

:class:`~jointrisk_node.membership.membership.Membership` is the way in; :mod:`~jointrisk_node.membership.link` keeps it
current over gRPC.
"""
