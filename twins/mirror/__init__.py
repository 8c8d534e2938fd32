"""The OPC UA mirror: one object a device."""
