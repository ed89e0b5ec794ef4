"""Membership at the coordinator: invitations, joining, approvals, certificates, the roster, removal.

:class:`~jointrisk_coordinator.membership.office.MembershipOffice` is the way in. Every operation is one transaction,
audit record included: a coordinator killed in the middle has done all of it or nothing.
"""
