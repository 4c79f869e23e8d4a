"""Own matches: from other tools' tracks and events to the official files, and events for other tools."""
