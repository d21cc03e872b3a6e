"""What the integration tests stand on: real servers, the real program, and judges of its work."""
