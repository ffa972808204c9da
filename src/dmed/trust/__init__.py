"""Who may do what: identity, roles, policy, audit; the gateway to the records."""
