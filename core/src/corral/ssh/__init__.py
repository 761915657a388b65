"""Another host, reached through OpenSSH's client."""
