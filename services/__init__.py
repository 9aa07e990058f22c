"""What the application does. Services own transactions and rules; they know no HTTP."""
