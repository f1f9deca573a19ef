//! What a body says: JSON, MCP.
