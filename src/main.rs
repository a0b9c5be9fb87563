//! The `ocistore` program.

fn main() -> std::process::ExitCode {
    ocistore::cli::main()
}
