"""What can go wrong between this machine and a device."""

from edgeml.core.errors import EdgeMLError


class DeviceLostError(EdgeMLError):
    """The link to a device was cut in the middle of the work; what ran there is gone, a new connection may be tried."""
