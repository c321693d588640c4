"""Links to the devices that models are measured on: how a worker is started there and files reach it."""
