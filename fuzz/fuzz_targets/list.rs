//! Prints, for each input of `differential`, its tar and what is in it: `list INPUT…`. No target to be fuzzed.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| println!("{}", ocistore::fuzzing::listing(data)));
