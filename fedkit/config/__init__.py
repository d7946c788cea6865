"""What people write: `fl_config.json` with its keys, `.env` and `config.json`."""
