"""The client side: a device's copy, its outbox, and the driver that reunites it with the hub."""
