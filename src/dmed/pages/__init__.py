"""What every screen shares: shell, components, design tokens."""
