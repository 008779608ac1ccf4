//! The content filter: EventBridge's event patterns over CloudEvents attributes and data.

/// A compiled filter.
#[derive(Debug, Clone)]
pub struct Filter;
