"""What of the SDK talks to the network; needs the extra `client`."""
