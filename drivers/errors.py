"""What can go wrong with a device, in four words that every driver uses.

Each message names the device (or link), what was asked, and the device's own code and text where it gave one.
"""


class DeviceError(Exception):
    """Anything that went wrong between a driver and its device."""


class LinkLost(DeviceError):
    """The device did not answer, the line is cut, or what came back is not its protocol."""


class Refused(DeviceError):
    """The device understood and said no.

    `code` is the device's own code (an exception code, a result code, an error number), None where it gave none.
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class NotSupported(DeviceError):
    """This model cannot do what the role asks."""


class OutOfRange(DeviceError):
    """A value is outside what the device or the bench file allows; nothing was sent."""
