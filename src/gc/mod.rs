//! Collecting what nothing names.
