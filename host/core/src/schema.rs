//! Registered JSON Schemas.
