//! The documentation is as the gateway is.
