"""Small stand-ins, on loopback, for the services that no emulator has. Their rules are the services' own."""
