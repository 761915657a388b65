"""Who may connect: credentials, TLS, addresses, and doors."""
