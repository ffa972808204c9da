"""One folder a capability; a module imports nothing of another but its api."""
