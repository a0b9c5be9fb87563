//! Root filesystems: a tree to a folder of the host.
