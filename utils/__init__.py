"""What every layer may use: settings, encryption, addresses, errors, logs. Nothing here knows a table or a route."""
