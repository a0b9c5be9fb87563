//! Conversions: layouts and archives to records and back.
