//! Owns asking another program: it gets inputs with settings on its standard input, and answers with compressed bytes.
//!
//! A question is the length of the settings (4 bytes, the lowest first), the settings as text, the length of the input,
//! the input. An answer is a length and that many bytes.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use ocistore::encoders::{Engine, Method};

use super::inputs::{Random, cases, input};

/// Another program, at work.
pub(crate) struct Peer {
    child: Child,
    questions: Option<ChildStdin>,
    answers: ChildStdout,
}

impl Peer {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            questions: child.stdin.take(),
            answers: child.stdout.take().unwrap(),
            child,
        }
    }

    /// Returns what the program makes of an input.
    pub(crate) fn ask(&mut self, settings: &str, plain: &[u8]) -> Vec<u8> {
        let to = self.questions.as_mut().unwrap();
        for part in [settings.as_bytes(), plain] {
            let len = u32::try_from(part.len()).unwrap();
            to.write_all(&len.to_le_bytes()).unwrap();
            to.write_all(part).unwrap();
        }
        to.flush().unwrap();
        let mut len = [0; 4];
        self.answers.read_exact(&mut len).unwrap();
        let mut answer = vec![0; u32::from_le_bytes(len) as usize];
        self.answers.read_exact(&mut answer).unwrap();
        answer
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.questions.take());
        self.child.wait().ok();
    }
}

/// Compares both on many inputs: of `settings`, the peer's and ours, each input gets one pair in turn. `frame` is how many
/// bytes of the peer's answers come before the stream, and after it.
pub(crate) fn compare(peer: &mut Peer, settings: &[(String, Method)], frame: (usize, usize)) {
    // For many inputs in little time.
    let largest = std::env::var("OCISTORE_ENCODER_LARGEST");
    let largest = largest.map_or(usize::MAX, |value| value.parse().unwrap());
    for seed in cases() {
        let mut plain = input(seed);
        plain.truncate(largest);
        let (name, method) = &settings[usize::try_from(seed).unwrap() % settings.len()];
        let theirs = peer.ask(name, &plain);
        let theirs = &theirs[frame.0..theirs.len() - frame.1];
        let mut ours = Vec::new();
        method.engine().run(&plain, &mut ours).unwrap();
        let same = theirs.iter().zip(&ours).take_while(|(a, b)| a == b).count();
        assert!(
            theirs == ours,
            "seed {seed} ({} bytes), {name}: {} bytes of theirs, {} of ours, the first {same} the same",
            plain.len(),
            theirs.len(),
            ours.len(),
        );
    }
}

/// How many drivers were built, by whoever builds one.
static BUILDING: Mutex<u32> = Mutex::new(0);

/// Builds the driver of a folder of peers/ by Debian's Go and the Go packages of Debian, if they are there. The environment
/// may name a driver that was built otherwise.
pub(crate) fn go_driver(folder: &str, variable: &str, packages: &[&str]) -> Option<Command> {
    if let Some(driver) = std::env::var_os(variable) {
        return Some(Command::new(driver));
    }
    let sources = Path::new("/usr/share/gocode/src");
    let is_there = Command::new("go").arg("version").output().is_ok()
        && packages.iter().all(|name| sources.join(name).is_dir());
    assert!(
        is_there || std::env::var_os("OCISTORE_REQUIRE_PEERS").is_none(),
        "this test needs go and {packages:?}"
    );
    if !is_there {
        eprintln!("skipped: this test needs go and {packages:?}");
        return None;
    }
    let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/encoders/peers");
    // Tests of one peer want it side by side: each gets its own, and one is built at a time.
    let mut number = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    *number += 1;
    let driver = place.join(format!("{folder}-{}-{number}", std::process::id()));
    let built = Command::new("go")
        .args(["build", "-o"])
        .args([&driver, &peers.join(folder).join("main.go")])
        .env("GOCACHE", place.join("go-cache"))
        .env("GO111MODULE", "off")
        .env("GOPATH", "/usr/share/gocode")
        .status()
        .unwrap();
    assert!(built.success());
    Some(Command::new(driver))
}

/// Returns what a method makes of an input that comes in pieces of any length.
pub(crate) fn run_in_pieces(method: Method, plain: &[u8], random: &mut Random) -> Vec<u8> {
    let stream = match method.engine() {
        Engine::Stream(stream) => Some(stream),
        Engine::Blocks(_) => None,
    };
    let mut stream = stream.unwrap();
    let (mut frame, mut rest) = (Vec::new(), plain);
    while !rest.is_empty() {
        let most = random.pick(&[1, 700, 131_072, 300_000, 5_000_000]);
        let (now, later) = rest.split_at(random.below(most + 1).min(rest.len()));
        stream.write(now, &mut frame).unwrap();
        rest = later;
    }
    stream.finish(&mut frame).unwrap();
    frame
}
