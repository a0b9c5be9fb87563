//! The command line: the only code that prints. One file a command; the contract is in `docs/cli.md`.

mod args;
mod build_args;
mod checkout;
mod clock;
mod commit;
mod compact;
mod completion;
mod config;
mod df;
mod diff;
mod exists;
mod export;
mod fsck;
mod gc;
mod images;
mod import;
mod init;
mod inspect;
mod laying;
mod mount;
mod output;
mod session;
mod size;
mod tag;
mod terminal;
mod unpack;

use std::io::ErrorKind;
use std::process::ExitCode;

use clap::Parser as _;
use rustix::io::Errno;

use crate::error::{Cause, Error, Result};
use args::{Cli, Command};
use session::Session;

/// The exit code of a call that makes no sense (sysexits.h, EX_USAGE).
const USAGE: u8 = 64;

/// Runs the program on the arguments of its process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => return say_usage(&e),
    };
    raise_file_limit();
    let session = Session::new(cli.global);
    let room = room(&cli.command);
    match run(&session, cli.command) {
        Ok(code) => code,
        Err(e) => ExitCode::from(say_error(&session, &with_next_step(e, room))),
    }
}

/// Says where a command needs room, and what makes some.
fn room(command: &Command) -> &'static str {
    match command {
        Command::Export(_) => "make room there, or name a destination on another file system",
        Command::Gc(_) => "make a little room on the file system of the store, and run it again",
        _ => "make room on the file system of the store: `ocistore gc` deletes what no name needs",
    }
}

/// Adds what helps where the system has no more of something, and nothing better is said already.
fn with_next_step(e: Error, room: &str) -> Error {
    let Cause::Io(io) = e.cause() else {
        return e;
    };
    // Where a library puts a path before the error, only its kind is left.
    match io.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => e.or_hint(room),
        _ if Errno::from_io_error(io) == Some(Errno::MFILE) => {
            e.or_hint("raise the limit of open files (`ulimit -Hn`)")
        }
        _ => e,
    }
}

fn run(session: &Session, command: Command) -> Result<ExitCode> {
    match command {
        Command::Init => init::run(session),
        Command::Import(args) => import::run(session, &args),
        Command::Images(args) => images::run(session, &args),
        Command::Tag(args) => tag::tag(session, &args),
        Command::Untag(args) => tag::untag(session, &args),
        Command::Exists(args) => return exists::run(session, &args),
        Command::Inspect(args) => inspect::run(session, &args),
        Command::Commit(args) => commit::run(session, &args),
        Command::Config(args) => config::run(session, &args),
        Command::Checkout(args) => checkout::run(session, &args),
        Command::Mount(args) => mount::mount(session, &args),
        Command::Umount(args) => mount::umount(session, &args),
        Command::Unpack(args) => unpack::run(session, &args),
        Command::Diff(args) => return diff::run(session, &args),
        Command::Export(args) => export::run(session, &args),
        Command::Gc(args) => gc::run(session, &args),
        Command::Compact(args) => compact::run(session, &args),
        Command::Fsck(args) => return fsck::run(session, &args),
        Command::Df => df::run(session),
        Command::Completion(args) => completion::completion(session, &args),
        Command::Man(args) => completion::man(session, &args),
    }?;
    Ok(ExitCode::SUCCESS)
}

/// Help and version are results; everything else that clap says is a wrong call.
fn say_usage(e: &clap::Error) -> ExitCode {
    // Where even this cannot be printed, the exit code still tells.
    e.print().ok();
    if e.use_stderr() {
        ExitCode::from(USAGE)
    } else {
        ExitCode::SUCCESS
    }
}

fn say_error(session: &Session, e: &Error) -> u8 {
    session.say(&format!("ocistore: {e}"));
    match e.cause() {
        Cause::Interrupted => session.interrupt_code(),
        _ => e.exit_code(),
    }
}

/// A deep tree holds a handle a level; what the hard limit allows costs nothing.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    )
    .ok();
}
