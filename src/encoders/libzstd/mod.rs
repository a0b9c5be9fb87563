//! Owns the frames of libzstd: those of the `zstd` command, of Python, of libarchive, and of this program.
//!
//! This is the library itself and no reading of it: it makes the bytes of its own version and of no other. So the settings
//! record the version, and an encoder of another version is an error at its first use. Where the crate `zstd` is to be
//! raised to one that links another version of the library, what the old one made could not be made again: either the
//! old version stays linked beside it, or users restore the blobs first. A test here pins the bytes.
//!
//! Of klauspost's zstd (podman, skopeo, buildah) it makes nothing.

mod frame;

use std::io;

use zstd::zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd::zstd_safe::{self, CCtx, CParameter, InBuffer, OutBuffer, SafeResult};

pub use frame::FrameHints;

use super::{Engine, StreamEncoder};
use crate::codec::{Cursor, DecodeError, put_varint};

/// How libzstd was set, for one frame.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Settings {
    /// The library's version, as `ZSTD_versionNumber` has it: 10507 for 1.5.7.
    pub version: u32,
    /// The level, from -7 to 22, and not 0.
    pub level: i8,
    /// How it was given the plain bytes.
    pub feed: Feed,
    /// Whether a checksum ends the frame.
    pub has_checksum: bool,
    /// How many plain bytes it was told of before the first; the header says it.
    pub size: Option<u64>,
    /// How far matches reach.
    pub reach: Reach,
}

/// How the library is given the plain bytes. It decides on blocks and on matches in what it holds together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Feed {
    /// One piece after another, the end by itself: most programs that use the library.
    Stream,
    /// As a stream, its size known, the end told with the last piece of 128 KiB: `zstd --single-thread` with a file.
    StreamToEnd,
    /// To worker threads, one or more, the end by itself: `zstd` in a pipe.
    Workers,
    /// To worker threads, its size known, the end told with the last piece: `zstd` with a file.
    WorkersToEnd,
    /// All at once, its size known: [`WHOLE`] at most, since it is held in memory.
    Whole,
}

/// How far back matches reach.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Reach {
    /// As far as the level says.
    Level,
    /// A window that was set, as a power of two.
    Window(u8),
    /// A window that was set, and a search for what is far (`--long`).
    Long(u8),
}

/// The most that is compressed at once.
pub const WHOLE: u64 = 64 << 20;

/// Where worker threads begin: what is known to be no larger has one thread.
const WORKERS_FROM: u64 = 512 << 10;

/// How much a program gives the library at a time, where it matters: what the library recommends.
const PIECE: usize = 128 << 10;

const LOWEST: i8 = -7;
const HIGHEST: i8 = 22;

/// The windows that can be set: the largest is what our reader takes.
const WINDOWS: std::ops::RangeInclusive<u8> = 10..=27;

/// The window of `--long`.
const LONG: u8 = 27;

/// Returns the version of the library that is linked.
pub fn linked_version() -> u32 {
    zstd_safe::version_number()
}

impl Settings {
    pub(in crate::encoders) fn encode(self, to: &mut Vec<u8>) {
        put_varint(to, u64::from(self.version));
        to.push(self.level.cast_unsigned());
        to.push(match self.feed {
            Feed::Stream => 0,
            Feed::StreamToEnd => 1,
            Feed::Workers => 2,
            Feed::WorkersToEnd => 3,
            Feed::Whole => 4,
        });
        to.push(u8::from(self.has_checksum));
        match self.size {
            None => to.push(0),
            Some(size) => {
                to.push(1);
                put_varint(to, size);
            }
        }
        match self.reach {
            Reach::Level => to.push(0),
            Reach::Window(log) => to.extend([1, log]),
            Reach::Long(log) => to.extend([2, log]),
        }
    }

    pub(in crate::encoders) fn decode(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        let settings = Self {
            version: cursor.number("version")?,
            level: cursor.byte()?.cast_signed(),
            feed: decode_feed(cursor)?,
            has_checksum: decode_flag(cursor)?,
            size: match decode_flag(cursor)? {
                true => Some(cursor.varint()?),
                false => None,
            },
            reach: decode_reach(cursor)?,
        };
        let is_level = (LOWEST..=HIGHEST).contains(&settings.level) && settings.level != 0;
        let is_size = match settings.feed {
            Feed::Stream | Feed::Workers => true,
            Feed::StreamToEnd | Feed::WorkersToEnd => settings.size.is_some(),
            Feed::Whole => settings.size.is_some_and(|size| size <= WHOLE),
        };
        match is_level && is_size {
            true => Ok(settings),
            false => Err(cursor.bad("settings")),
        }
    }

    pub(in crate::encoders) fn engine(self) -> Engine {
        Engine::Stream(Box::new(Encoder {
            settings: self,
            context: None,
            taken: 0,
            held: Vec::new(),
        }))
    }

    /// Returns what may have made a frame with this header, the likeliest first.
    ///
    /// Several of them may begin a frame with the same bytes: feeds differ in where blocks end, levels where there are
    /// matches to find.
    pub fn candidates(hints: FrameHints) -> Vec<Self> {
        let likeliest = 3;
        let others = (1..=HIGHEST).chain((LOWEST..0).rev());
        std::iter::once(likeliest)
            .chain(others.filter(|level| *level != likeliest))
            .filter_map(|level| Some((level, reach_of(level, hints)?)))
            .flat_map(|(level, reach)| {
                feeds(hints).into_iter().map(move |feed| Self {
                    version: linked_version(),
                    level,
                    feed,
                    has_checksum: hints.has_checksum,
                    size: hints.size,
                    reach,
                })
            })
            .collect()
    }
}

fn decode_feed(cursor: &mut Cursor<'_>) -> Result<Feed, DecodeError> {
    Ok(match cursor.byte()? {
        0 => Feed::Stream,
        1 => Feed::StreamToEnd,
        2 => Feed::Workers,
        3 => Feed::WorkersToEnd,
        4 => Feed::Whole,
        _ => return Err(cursor.bad("feed")),
    })
}

fn decode_flag(cursor: &mut Cursor<'_>) -> Result<bool, DecodeError> {
    match cursor.byte()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(cursor.bad("flag")),
    }
}

fn decode_reach(cursor: &mut Cursor<'_>) -> Result<Reach, DecodeError> {
    let reach: fn(u8) -> Reach = match cursor.byte()? {
        0 => return Ok(Reach::Level),
        1 => Reach::Window,
        2 => Reach::Long,
        _ => return Err(cursor.bad("reach")),
    };
    let log = cursor.byte()?;
    match WINDOWS.contains(&log) {
        true => Ok(reach(log)),
        false => Err(cursor.bad("window")),
    }
}

/// Returns a level's window for content that is not known to be small.
fn level_window(level: i8) -> u8 {
    match level {
        ..=1 => 19,
        2 => 20,
        3..=8 => 21,
        9..=16 => 22,
        17..=19 => 23,
        20 => 25,
        21 => 26,
        _ => 27,
    }
}

/// Returns how the window came about, where a level can have had it.
fn reach_of(level: i8, hints: FrameHints) -> Option<Reach> {
    if hints.dictionary != 0 {
        return None;
    }
    // A window that holds all of the content is a single segment.
    let holds = |log: u8| hints.size.is_some_and(|size| size <= 1 << log);
    let Some(_) = hints.window else {
        return match holds(level_window(level)) {
            true => Some(Reach::Level),
            false => holds(LONG).then_some(Reach::Long(LONG)),
        };
    };
    let log = hints.window_log()?;
    if holds(log) || !WINDOWS.contains(&log) {
        return None;
    }
    Some(match log {
        log if log == level_window(level) => Reach::Level,
        LONG => Reach::Long(LONG),
        // Another level's: that one is likelier than two settings.
        log if (LOWEST..=HIGHEST).any(|level| level_window(level) == log) => return None,
        log => Reach::Window(log),
    })
}

/// Returns the feeds there may have been, the likeliest first.
fn feeds(hints: FrameHints) -> Vec<Feed> {
    let Some(size) = hints.size else {
        // The command writes checksums, and uses workers; the library does neither unless it is told.
        return match hints.has_checksum {
            true => vec![Feed::Workers, Feed::Stream],
            false => vec![Feed::Stream, Feed::Workers],
        };
    };
    let mut feeds = Vec::new();
    if size > WORKERS_FROM {
        feeds.push(Feed::WorkersToEnd);
    }
    feeds.extend([Feed::StreamToEnd, Feed::Stream]);
    if size <= WHOLE {
        feeds.push(Feed::Whole);
    }
    if !hints.has_checksum {
        feeds.reverse();
    }
    feeds
}

impl std::fmt::Display for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "libzstd {}, level {}", Version(self.version), self.level)?;
        f.write_str(match self.feed {
            Feed::Stream | Feed::StreamToEnd => "",
            Feed::Workers | Feed::WorkersToEnd => ", worker threads",
            Feed::Whole => ", at once",
        })?;
        match self.reach {
            Reach::Level => Ok(()),
            Reach::Window(log) => write!(f, ", window of 2^{log} bytes"),
            Reach::Long(log) => write!(f, ", long distances in 2^{log} bytes"),
        }
    }
}

/// A version of the library, as a person writes it.
pub(in crate::encoders) struct Version(pub(in crate::encoders) u32);

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(number) = self;
        write!(
            f,
            "{}.{}.{}",
            number / 10_000,
            number / 100 % 100,
            number % 100
        )
    }
}

/// Returns an error unless this version is the one that is linked.
pub(in crate::encoders) fn check_version(version: u32) -> io::Result<()> {
    let linked = linked_version();
    if version == linked {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        format!(
            "expected libzstd {}, got {}: each version makes its own bytes",
            Version(version),
            Version(linked)
        ),
    ))
}

struct Encoder {
    settings: Settings,
    /// Made at the first use.
    context: Option<CCtx<'static>>,
    /// How many plain bytes there were.
    taken: u64,
    /// What is not given to the library yet.
    held: Vec<u8>,
}

impl StreamEncoder for Encoder {
    fn write(&mut self, plain: &[u8], to: &mut Vec<u8>) -> io::Result<()> {
        self.taken += plain.len() as u64;
        if self.settings.size.is_some_and(|size| size < self.taken) {
            return Err(other_size());
        }
        let context = ready(&mut self.context, self.settings)?;
        match self.settings.feed {
            Feed::Stream | Feed::Workers => push(context, plain, to)?,
            Feed::StreamToEnd | Feed::WorkersToEnd => {
                push_pieces(context, &mut self.held, plain, to)?;
            }
            Feed::Whole => self.held.extend_from_slice(plain),
        }
        Ok(())
    }

    fn finish(&mut self, to: &mut Vec<u8>) -> io::Result<()> {
        if self.settings.size.is_some_and(|size| size != self.taken) {
            return Err(other_size());
        }
        let held = std::mem::take(&mut self.held);
        let context = ready(&mut self.context, self.settings)?;
        match self.settings.feed {
            Feed::Stream | Feed::Workers | Feed::StreamToEnd | Feed::WorkersToEnd => {
                end(context, &held, to)
            }
            Feed::Whole => {
                let mut frame = Vec::with_capacity(zstd_safe::compress_bound(held.len()));
                done(context.compress2(&mut frame, &held))?;
                to.append(&mut frame);
                Ok(())
            }
        }
    }
}

fn other_size() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "not as many plain bytes as the frame's header says",
    )
}

/// Returns the context, made now where there is none.
fn ready<'a>(
    context: &'a mut Option<CCtx<'static>>,
    settings: Settings,
) -> io::Result<&'a mut CCtx<'static>> {
    Ok(match context {
        Some(context) => context,
        None => context.insert(begin(settings)?),
    })
}

fn no_memory() -> io::Error {
    io::ErrorKind::OutOfMemory.into()
}

fn begin(settings: Settings) -> io::Result<CCtx<'static>> {
    check_version(settings.version)?;
    let mut context = CCtx::try_create().ok_or_else(no_memory)?;
    let mut set = |parameter| done(context.set_parameter(parameter)).map(drop);
    set(CParameter::CompressionLevel(settings.level.into()))?;
    set(CParameter::ChecksumFlag(settings.has_checksum))?;
    match settings.feed {
        Feed::Stream | Feed::StreamToEnd | Feed::Whole => {}
        // How many there are does not show.
        Feed::Workers | Feed::WorkersToEnd => set(CParameter::NbWorkers(2))?,
    }
    match settings.reach {
        Reach::Level => {}
        Reach::Window(log) => set(CParameter::WindowLog(log.into()))?,
        Reach::Long(log) => {
            set(CParameter::EnableLongDistanceMatching(true))?;
            set(CParameter::WindowLog(log.into()))?;
        }
    }
    done(context.set_pledged_src_size(settings.size))?;
    Ok(context)
}

fn done(result: SafeResult) -> io::Result<usize> {
    result.map_err(|code| io::Error::other(zstd_safe::get_error_name(code)))
}

/// Gives `plain` to the library; more will follow.
fn push(context: &mut CCtx<'_>, plain: &[u8], to: &mut Vec<u8>) -> io::Result<()> {
    let mut input = InBuffer::around(plain);
    while input.pos() < plain.len() {
        step(to, |output| context.compress_stream(output, &mut input))?;
    }
    Ok(())
}

/// Gives the library all but the last piece of what there is by now.
fn push_pieces(
    context: &mut CCtx<'_>,
    held: &mut Vec<u8>,
    mut plain: &[u8],
    to: &mut Vec<u8>,
) -> io::Result<()> {
    while !plain.is_empty() {
        if held.len() == PIECE {
            push(context, held, to)?;
            held.clear();
        }
        let (now, later) = plain.split_at(plain.len().min(PIECE - held.len()));
        held.extend_from_slice(now);
        plain = later;
    }
    Ok(())
}

/// Gives the library the last bytes, and ends the frame.
fn end(context: &mut CCtx<'_>, last: &[u8], to: &mut Vec<u8>) -> io::Result<()> {
    let mut input = InBuffer::around(last);
    loop {
        let left = step(to, |output| {
            context.compress_stream2(output, &mut input, ZSTD_EndDirective::ZSTD_e_end)
        })?;
        if left == 0 {
            return Ok(());
        }
    }
}

/// Lets the library append to `to`, where there is room for what a piece may become.
fn step(
    to: &mut Vec<u8>,
    take: impl FnOnce(&mut OutBuffer<'_, Vec<u8>>) -> SafeResult,
) -> io::Result<usize> {
    to.reserve(CCtx::out_size());
    let at = to.len();
    done(take(&mut OutBuffer::around_pos(to, at)))
}

#[cfg(test)]
mod tests {
    use super::super::{Method, own};
    use super::*;
    use crate::digest::Digest;

    const OF_PIPE: Settings = Settings {
        version: 10507,
        level: 3,
        feed: Feed::Workers,
        has_checksum: true,
        size: None,
        reach: Reach::Level,
    };

    /// Half text, half noise; the far half of it comes again.
    fn sample(len: usize) -> Vec<u8> {
        let mut seed = 7u32;
        let mut noise = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            seed >> 20
        };
        let mut plain = Vec::with_capacity(len + 64);
        while plain.len() < len / 2 {
            let number = noise();
            plain.extend_from_slice(format!("usr/lib/{}/{number}\n", number % 50).as_bytes());
            plain.extend((0..number % 40).map(|_| noise().to_le_bytes()[0]));
        }
        while plain.len() < len {
            let from = plain.len() - len / 2 + 100;
            plain.extend_from_within(from..from + 900);
        }
        plain.truncate(len);
        plain
    }

    fn run(settings: Settings, plain: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        settings.engine().run(plain, &mut frame).unwrap();
        frame
    }

    /// Returns settings from a level, a feed, a reach.
    fn named(name: &str, len: u64) -> Settings {
        let mut words = name.split(' ');
        let level = words.next().unwrap().parse().unwrap();
        let (feed, size) = match words.next().unwrap() {
            "stream" => (Feed::Stream, None),
            "stream-known" => (Feed::Stream, Some(len)),
            "stream-to-end" => (Feed::StreamToEnd, Some(len)),
            "workers" => (Feed::Workers, None),
            "workers-to-end" => (Feed::WorkersToEnd, Some(len)),
            _ => (Feed::Whole, Some(len)),
        };
        let reach = match words.next() {
            None => Reach::Level,
            Some("long") => Reach::Long(27),
            Some(_) => Reach::Window(18),
        };
        Settings {
            level,
            feed,
            size,
            reach,
            ..OF_PIPE
        }
    }

    /// Where this fails after the crate was raised, the new library cannot make what the old one made: see the top.
    #[test]
    fn the_linked_version_makes_these_bytes() {
        let plain = sample(3_000_000);
        let golden = [
            ("3 stream", 1_089_588, "d46bea60a0c4e867"),
            ("3 stream-to-end", 1_089_592, "6b17c1397a439683"),
            ("1 workers", 2_272_374, "c6a002961fe086c7"),
            ("1 workers-to-end", 2_272_378, "5dbebc7c83a07378"),
            ("3 whole", 1_090_815, "c2da09812e8acc7f"),
            ("-5 stream", 2_393_713, "957037f4067bda65"),
            ("7 stream window", 2_110_778, "4195c8dabc9c5104"),
            ("13 stream", 1_054_230, "0dab5d3f457a3967"),
            ("3 workers long", 1_089_613, "fe840d56c2d483ae"),
            ("19 stream-known", 980_686, "7bcec86b98ae7d9d"),
        ];
        for (name, len, sum) in golden {
            let settings = named(name, plain.len() as u64);
            let frame = run(settings, &plain);
            let made = (frame.len(), &Digest::sha256(&frame).hex()[..16]);
            assert_eq!(made, (len, sum), "{name}");
        }
    }

    #[test]
    fn another_version_is_an_error_at_the_first_use() {
        let other = Settings {
            version: 10506,
            ..OF_PIPE
        };
        let error = other.engine().run(b"x", &mut Vec::new()).unwrap_err();
        let wanted = "expected libzstd 1.5.6, got 1.5.7: each version makes its own bytes";
        assert_eq!(error.to_string(), wanted);
        let ours = Method::Own(own::Settings::Zstd { version: 10506 });
        let error = ours.engine().run(b"x", &mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), wanted);
    }

    #[test]
    fn settings_have_one_spelling() {
        let own = Method::Own(own::Settings::Zstd { version: 10507 });
        assert_eq!(own.to_bytes(), [0, 1, 0x8b, 0x52]);
        assert_eq!(Method::from_bytes(&own.to_bytes()), Ok(own));
        let method = Method::Libzstd(Settings {
            level: -1,
            size: Some(300),
            reach: Reach::Long(27),
            ..OF_PIPE
        });
        let bytes = method.to_bytes();
        assert_eq!(bytes, [4, 0x8b, 0x52, 0xff, 2, 1, 1, 0xac, 2, 2, 27]);
        assert_eq!(Method::from_bytes(&bytes), Ok(method));
        let with = |at: usize, byte: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = byte;
            Method::from_bytes(&bytes)
        };
        for (at, byte) in [(3, 0), (3, 23), (3, 0xf8), (4, 5), (5, 2), (6, 2), (9, 3)] {
            assert!(with(at, byte).is_err(), "{byte} at {at}");
        }
        for log in [9, 28, 255] {
            assert!(with(10, log).is_err(), "{log}");
        }
        assert!(with(4, 4).is_ok());
        let mut whole = Settings {
            feed: Feed::Whole,
            size: None,
            ..OF_PIPE
        };
        assert!(Method::from_bytes(&Method::Libzstd(whole).to_bytes()).is_err());
        whole.size = Some(WHOLE + 1);
        assert!(Method::from_bytes(&Method::Libzstd(whole).to_bytes()).is_err());
        whole.size = Some(WHOLE);
        assert!(Method::from_bytes(&Method::Libzstd(whole).to_bytes()).is_ok());
    }

    #[test]
    fn content_of_another_size_is_an_error() {
        for feed in [
            Feed::Stream,
            Feed::StreamToEnd,
            Feed::WorkersToEnd,
            Feed::Whole,
        ] {
            for size in [0, 2, 4, 1 << 20] {
                let settings = Settings {
                    feed,
                    size: Some(size),
                    ..OF_PIPE
                };
                let run = settings.engine().run(b"xyz", &mut Vec::new());
                assert!(run.is_err(), "{feed:?} {size}");
            }
        }
    }

    #[test]
    fn the_first_candidate_is_the_likeliest() {
        let first = |head: &[u8]| {
            let hints = FrameHints::parse(&[&[0x28, 0xb5, 0x2f, 0xfd][..], head].concat());
            Settings::candidates(hints.unwrap()).first().copied()
        };
        assert_eq!(first(&[0x04, 0x58]), Some(OF_PIPE));
        // klauspost's default window is that of level 17, and nobody's who takes level 3.
        assert_eq!(first(&[0x04, 0x68]).unwrap().level, 17);
        assert_eq!(first(&[0x04, 0x70]).unwrap().reach, Reach::Window(24));
        assert_eq!(first(&[0x04, 0x88]).unwrap().reach, Reach::Long(27));
        // A dictionary, a window that is no power of two, one that we do not read.
        assert_eq!(first(&[0x05, 0x58, 1]), None);
        assert_eq!(first(&[0x04, 0x59]), None);
        assert_eq!(first(&[0x04, 0x90]), None);
    }

    #[test]
    fn a_version_reads_as_people_write_it() {
        let far = Settings {
            reach: Reach::Long(27),
            ..OF_PIPE
        };
        assert_eq!(
            OF_PIPE.to_string(),
            "libzstd 1.5.7, level 3, worker threads"
        );
        assert_eq!(
            far.to_string(),
            "libzstd 1.5.7, level 3, worker threads, long distances in 2^27 bytes"
        );
    }
}
