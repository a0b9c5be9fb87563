//! The parts that `benches/` measures, and nobody else sees. Built with the feature `bench` only, which is no part of the
//! public interface.

pub use crate::convert::parts::{MemoryNodes, Packed, Parsed, Tree, disassemble, inflate, overlay};
pub use crate::gc::parts::mark;
pub use crate::rootfs::parts::plan;
