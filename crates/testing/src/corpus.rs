//! Inputs that once were, or could be, trouble for a decoder: each is replayed, and changed a little and
//! replayed again.

use std::{
    env, fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use crate::{env_number, long, mix};

/// A decoder that is busy with one input for so long will not end.
const ENDLESS: Duration = Duration::from_secs(120);
const BYTES_MAX: usize = 1 << 20;

/// Gives every file of `tests/corpus/<target>`, and of the sample projects what `target` is for, to `decode`,
/// then changed versions of it (`LAGAR_CASES` for each, 100 by default and 30 times as many in the long lane),
/// the same for the same `LAGAR_SEED`. Returns how many inputs it were.
///
/// # Panics
/// If `decode` panics or does not end, with what finds the input again.
pub fn replay_corpus(target: &str, decode: fn(&[u8])) -> u64 {
    let seeds = inputs(target).unwrap_or_else(|error| panic!("the inputs of {target}: {error}"));
    let seed = env_number("LAGAR_SEED").unwrap_or(1);
    let cases = env_number("LAGAR_CASES").unwrap_or(if long() { 3000 } else { 100 });
    let target = target.to_owned();
    let (sender, receiver) = channel();
    let replay = move || {
        let all: Vec<&[u8]> = seeds.iter().map(|(_, bytes)| bytes.as_slice()).collect();
        for (number, (name, bytes)) in seeds.iter().enumerate() {
            for case in 0..=cases {
                let words = format!("LAGAR_SEED={seed} LAGAR_CASES={cases}: change {case} of {name}");
                let mut draw = Draw { seed: seed ^ (number as u64) << 40, at: case << 16 };
                let input = if case == 0 { bytes.clone() } else { changed(bytes, &all, &mut draw) };
                let shown = String::from_utf8_lossy(&input[..input.len().min(400)]).into_owned();
                let words = format!("{words}\n{} bytes: {shown:?}", input.len());
                let _ = sender.send(words.clone());
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| decode(&input))) {
                    let path = env::temp_dir().join(format!("{target}-{seed}-{number}-{case}"));
                    let kept = fs::write(&path, &input)
                        .map_or_else(|e| e.to_string(), |()| path.display().to_string());
                    println!("{words}\nthe input: {kept}");
                    std::panic::resume_unwind(panic);
                }
            }
        }
    };
    // As much stack as the product gives its threads.
    let replayed = thread::Builder::new().stack_size(16 << 20).spawn(replay);
    let replayed = replayed.unwrap_or_else(|error| panic!("no thread: {error}"));
    let mut count = 0;
    let mut last = String::new();
    loop {
        match receiver.recv_timeout(ENDLESS) {
            Ok(words) => {
                last = words;
                count += 1;
            }
            Err(RecvTimeoutError::Timeout) => panic!("busy for more than {ENDLESS:?}: {last}"),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    if let Err(panic) = replayed.join() {
        std::panic::resume_unwind(panic);
    }
    count
}

/// What a target is given: paths below the checkout, and bytes; by path.
fn inputs(target: &str) -> io::Result<Vec<(String, Vec<u8>)>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut paths = Vec::new();
    files_below(&root.join("tests/corpus").join(target), None, &mut paths)?;
    if paths.is_empty() {
        return Err(io::Error::other("the folder of the corpus has no file"));
    }
    // The sample projects are inputs, too.
    let samples = match target {
        "model" => Some("sql"),
        "yaml" => Some("yaml"),
        _ => None,
    };
    if samples.is_some() {
        files_below(&root.join("sql"), samples, &mut paths)?;
    }
    paths.sort();
    let named = |path: PathBuf| {
        let name = path.strip_prefix(&root).unwrap_or(&path).display().to_string();
        Ok((name, fs::read(path)?))
    };
    paths.into_iter().map(named).collect()
}

/// The files with this suffix, or all. What a run by hand left beside a project is not part of it.
fn files_below(folder: &Path, suffix: Option<&str>, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            if !path.ends_with("lake") && !path.ends_with(".lagar") {
                files_below(&path, suffix, files)?;
            }
        } else if suffix.is_none_or(|suffix| path.extension().is_some_and(|found| found == suffix)) {
            files.push(path);
        }
    }
    Ok(())
}

/// Numbers that follow from a seed.
struct Draw {
    seed: u64,
    at: u64,
}

impl Draw {
    fn below(&mut self, limit: usize) -> usize {
        self.at += 1;
        (mix(mix(self.seed) ^ self.at) % limit.max(1) as u64) as usize
    }
}

/// One to four changes of the kinds that find faults in decoders: bits, lengths, order, what stands in
/// another file, and the words of formats.
fn changed(bytes: &[u8], others: &[&[u8]], draw: &mut Draw) -> Vec<u8> {
    const WORDS: &[&[u8]] = &[
        b"",
        b"\0",
        b"\xff\xff\xff\xff",
        b"\x7f\xff\xff\xff",
        b"\x80\0\0\0",
        b"\"",
        b"\\",
        b"\\u0000",
        b"\\ud800",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\n",
        b"\r\n",
        b"\xef\xbb\xbf",
        b"\xc3",
        b"-",
        b"1e999",
        b"-0",
        b"99999999999999999999",
        b"null",
        b"true",
        b"NaN",
        b"..",
        b"/",
        b"%2e",
        b"%",
        b"@",
        b"?",
        b"#",
        b"&a",
        b"*a",
        b"<<",
        b": ",
        b"- ",
        b"---\n",
        b"!!int ",
        b"$..*",
        b"$",
        b"'",
        b"/*---",
        b"---*/",
        b"PAR1",
    ];
    let mut out = bytes.to_vec();
    for _ in 0..=draw.below(4) {
        let at = draw.below(out.len() + 1);
        let length = match draw.below(3) {
            0 => 1,
            1 => draw.below(16),
            _ => draw.below(out.len() + 1),
        };
        let end = (at + length).min(out.len());
        match draw.below(8) {
            0 if at < out.len() => out[at] ^= 1 << draw.below(8),
            1 if at < out.len() => out[at] = draw.below(256) as u8,
            2 => drop(out.drain(at..end)),
            3 => out.truncate(at),
            4 => drop(out.splice(at..at, WORDS[draw.below(WORDS.len())].iter().copied())),
            5 => {
                let part = out[at..end].to_vec();
                let times = 1 + draw.below(40);
                drop(out.splice(at..at, part.repeat(times)));
            }
            6 => {
                let other = others[draw.below(others.len())];
                let start = draw.below(other.len() + 1);
                let stop = (start + length).min(other.len());
                drop(out.splice(at..end, other[start..stop].iter().copied()));
            }
            _ => {
                let word = WORDS[draw.below(WORDS.len())];
                let stop = (at + word.len()).min(out.len());
                drop(out.splice(at..stop, word.iter().copied()));
            }
        }
        out.truncate(BYTES_MAX);
    }
    out
}
