"""OAuth 2.0, OpenID Connect and SMART App Launch: what an app may ask for, and how it gets it."""
