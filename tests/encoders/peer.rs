//! Owns asking another program: it gets inputs with settings on its standard input, and answers with compressed bytes.
//!
//! A question is the length of the settings (4 bytes, the lowest first), the settings as text, the length of the input,
//! the input. An answer is a length and that many bytes.

use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use ocistore::encoders::{Engine, Method};

use super::inputs::Random;

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
