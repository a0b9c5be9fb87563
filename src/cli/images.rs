//! `images`: lists what has a name.
