"""Drivers: how to talk to a device, real or twin alike."""
