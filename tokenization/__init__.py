"""Text to token ids on disk: corpus -> documents -> sentences -> ids -> TokenStore. Knows no model and no objective."""
