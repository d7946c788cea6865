"""Many datasites: the sync between them, the ledger of what crossed, and the network that runs them to the end."""
