"""Programs that others wrote, which hand their email to the gateway as they do to any mail server."""
