"""What every screen shares: shell, components, design tokens, texts, charts and their scripts."""
