//! Recordings in asciicast v2: a line with a JSON object that says the terminal's size, then one line
//! `[seconds, code, data]` for each event. Ours and foreign ones are read alike; a last line that is cut off is
//! passed over.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use laneway_wire::recording::part_of;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// The longest line that is read: 64 MiB. Ours have 64 KiB of output, or one picture of a terminal.
const MAX_LINE: u64 = 64 << 20;

/// Why a recording cannot be played.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CastError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is of another version of the format.
    #[error("{} is an asciicast v{version} file, and v2 is what can be played", path.display())]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// What it says.
        version: u64,
    },
    /// It is no recording.
    #[error("{} is no asciicast v2 file: {why}", path.display())]
    NotACast {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A line in the middle makes no sense.
    #[error("{}: line {line} is no event of an asciicast v2 file", path.display())]
    BrokenLine {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: u64,
    },
}

/// What the first line says.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Header {
    /// Columns of the terminal at the beginning.
    pub(crate) width: u32,
    /// Rows of the terminal at the beginning.
    pub(crate) height: u32,
    /// Seconds that a pause is to be cut to.
    pub(crate) idle_time_limit: Option<f64>,
}

/// Something the terminal was given to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Output {
    /// How long after the beginning.
    pub(crate) at: Duration,
    /// What it was.
    pub(crate) text: String,
}

#[derive(Deserialize)]
struct Version {
    version: u64,
}

/// A file that is being read.
#[derive(Debug)]
struct Cast {
    path: PathBuf,
    file: BufReader<File>,
    header: Header,
    n_lines: u64,
}

impl Cast {
    fn open(path: &Path) -> Result<Self, CastError> {
        let failed = |source| CastError::File { path: path.to_owned(), source };
        let mut file = BufReader::with_capacity(256 << 10, File::open(path).map_err(failed)?);
        let mut first = Vec::new();
        read_line(&mut file, &mut first).map_err(failed)?;
        let version = match serde_json::from_slice(&first) {
            Ok(Version { version }) => Some(version),
            // A v1 file is one object, which may stand on many lines.
            Err(_) => serde_json::from_reader(first.as_slice().chain(&mut file).take(MAX_LINE))
                .ok()
                .map(|Version { version }| version),
        };
        let not_a_cast = |why| CastError::NotACast { path: path.to_owned(), why };
        match version {
            Some(2) => {}
            Some(version) => return Err(CastError::OtherVersion { path: path.to_owned(), version }),
            None => return Err(not_a_cast("its first line is no JSON object with a version")),
        }
        let header = serde_json::from_slice(&first)
            .map_err(|_| not_a_cast("its first line does not say the width and height of the terminal"))?;
        Ok(Self { path: path.to_owned(), file, header, n_lines: 1 })
    }

    /// The next output; none at the end.
    fn next(&mut self) -> Result<Option<Output>, CastError> {
        let mut line = Vec::new();
        loop {
            line.clear();
            self.n_lines += 1;
            let failed = |source| CastError::File { path: self.path.clone(), source };
            read_line(&mut self.file, &mut line).map_err(failed)?;
            if line.is_empty() {
                return Ok(None);
            }
            match parse(&line) {
                Some(Line::Output(output)) => return Ok(Some(output)),
                Some(Line::Other) => {}
                // A writer that was killed, or that is writing now.
                None if self.file.fill_buf().map_err(failed)?.is_empty() => return Ok(None),
                None => return Err(CastError::BrokenLine { path: self.path.clone(), line: self.n_lines }),
            }
        }
    }
}

fn read_line(file: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<()> {
    file.take(MAX_LINE).read_until(b'\n', line)?;
    Ok(())
}

enum Line {
    Output(Output),
    /// An event that shows nothing: what was typed, a size, a mark; or nothing at all.
    Other,
}

fn parse(line: &[u8]) -> Option<Line> {
    if line.trim_ascii().is_empty() {
        return Some(Line::Other);
    }
    let (seconds, code): (f64, String) = match serde_json::from_slice(line) {
        Ok((seconds, code, text)) if code == "o" => {
            let at = Duration::try_from_secs_f64(seconds).ok()?;
            return Some(Line::Output(Output { at, text }));
        }
        Ok((seconds, code, _)) => (seconds, code),
        // Other events may have other data than text.
        Err(_) => {
            let (seconds, code, IgnoredAny) = serde_json::from_slice(line).ok()?;
            (seconds, code)
        }
    };
    (seconds >= 0.0 && code != "o").then_some(Line::Other)
}

/// Files that follow one another, read as one.
#[derive(Debug)]
pub(crate) struct Recording {
    casts: VecDeque<Cast>,
    /// What the first file says.
    pub(crate) header: Header,
    /// Where the present file begins in the whole.
    begins_at: Duration,
    /// Where the last output stands in the whole.
    ends_at: Duration,
    /// What the present file shows first is on the screen already.
    skips_picture: bool,
}

impl Recording {
    /// Opens all of `paths`, so that they can be played also if they are removed meanwhile. The oldest may be gone
    /// already.
    pub(crate) fn open(paths: &[PathBuf]) -> Result<Self, CastError> {
        let mut casts = VecDeque::new();
        for (index, path) in paths.iter().enumerate() {
            match Cast::open(path) {
                Ok(cast) => casts.push_back(cast),
                Err(CastError::File { source, .. })
                    if source.kind() == io::ErrorKind::NotFound
                        && index + 1 < paths.len()
                        && casts.is_empty() => {}
                Err(error) => return Err(error),
            }
        }
        let first = casts.front().expect("the last one is there, or an error");
        let header = first.header.clone();
        Ok(Self { casts, header, begins_at: Duration::ZERO, ends_at: Duration::ZERO, skips_picture: false })
    }

    /// The next output; none at the end. Times never go back.
    pub(crate) fn next(&mut self) -> Result<Option<Output>, CastError> {
        while let Some(cast) = self.casts.front_mut() {
            let Some(output) = cast.next()? else {
                self.begin_next();
                continue;
            };
            if std::mem::take(&mut self.skips_picture) {
                continue;
            }
            self.ends_at = self.ends_at.max(self.begins_at.saturating_add(output.at));
            return Ok(Some(Output { at: self.ends_at, ..output }));
        }
        Ok(None)
    }

    /// A part begins where the one before it ends, with a picture of what that one ends with.
    fn begin_next(&mut self) {
        let ended = self.casts.pop_front().and_then(|cast| part_of(cast.path.file_name()?));
        let begun = self.casts.front().and_then(|cast| part_of(cast.path.file_name()?));
        self.begins_at = self.ends_at;
        self.skips_picture = ended.zip(begun).is_some_and(|(ended, begun)| ended + 1 == begun);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, text: &[u8]) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The output of these files, each with its time in milliseconds.
    fn played(paths: &[PathBuf]) -> Result<Vec<(u128, String)>, CastError> {
        let mut recording = Recording::open(paths)?;
        let mut played = Vec::new();
        while let Some(output) = recording.next()? {
            played.push((output.at.as_millis(), output.text));
        }
        Ok(played)
    }

    fn file_of(text: &[u8]) -> Result<Vec<(u128, String)>, CastError> {
        let folder = tempfile::tempdir().unwrap();
        played(&[write(folder.path(), "x.cast", text)])
    }

    const HEADER: &str = r#"{"version": 2, "width": 80, "height": 24}"#;

    #[test]
    fn foreign_files_are_read_and_what_shows_nothing_is_passed_over() {
        let text = "{\"version\":2,\"width\":80,\"height\":24,\"timestamp\":1504467315,\"duration\":9.5,\
            \"idle_time_limit\":1.5,\"command\":\"sh\",\"title\":null,\"env\":{\"TERM\":null},\"theme\":{\"fg\":\"#fff\"}}\n\
            [0.25, \"o\", \"\\u001b[1mHello \\ud83d\\ude00\\r\\n\"]\n\n\
            [1, \"i\", \"secret\"]\n[1.2,\"m\",\"\"]\n[1.3,\"r\",\"90x30\"]\n[1.4,\"future\",{\"a\":[1]}]\n\
            [0.9, \"o\", \"never back\"]\r\n[2.5, \"o\", \"\"]";
        assert_eq!(
            file_of(text.as_bytes()).unwrap(),
            [
                (250, "\x1b[1mHello \u{1f600}\r\n".to_owned()),
                (900, "never back".to_owned()),
                (2500, String::new())
            ]
        );
        let folder = tempfile::tempdir().unwrap();
        let recording = Recording::open(&[write(folder.path(), "x.cast", text.as_bytes())]).unwrap();
        assert_eq!(recording.header, Header { width: 80, height: 24, idle_time_limit: Some(1.5) });
    }

    #[test]
    fn a_last_line_that_is_cut_off_is_passed_over_and_one_in_the_middle_is_an_error() {
        let whole = format!("{HEADER}\n[0.1, \"o\", \"one\"]\n[0.2, \"o\", \"zw\u{f6}lf\"]\n");
        // Cut in the second event, also within a character and before the line's end.
        let begin = whole.len() - "[0.2, \"o\", \"zw\u{f6}lf\"]\n".len();
        for end in begin..whole.len() - 2 {
            assert_eq!(file_of(&whole.as_bytes()[..end]).unwrap(), [(100, "one".to_owned())], "{end}");
        }
        assert_eq!(file_of(&whole.as_bytes()[..whole.len() - 1]).unwrap().len(), 2);
        assert_eq!(file_of(HEADER.as_bytes()).unwrap(), []);
        for line in ["[0.1, \"o\"]", "[-1, \"o\", \"x\"]", "[1, \"o\", 5]", "x", "[1, \"o\", \"x\", 2]", "{}"]
        {
            let text = format!("{HEADER}\n{line}\n[0.2, \"o\", \"x\"]\n");
            let error = file_of(text.as_bytes()).unwrap_err();
            assert!(matches!(error, CastError::BrokenLine { line: 2, .. }), "{line}: {error}");
        }
    }

    #[test]
    fn what_is_no_v2_file_is_told_for_what_it_is() {
        let one_line = r#"{"version": 1, "width": 80, "height": 24, "stdout": [[0.1, "x"]]}"#;
        let many_lines = one_line.replace(", ", ",\n  ").replace('{', "{\n");
        let third = "{\"version\": 3, \"term\": {\"cols\": 80, \"rows\": 24}}\n[0.1, \"o\", \"x\"]\n";
        for (text, version) in [(one_line, 1), (many_lines.as_str(), 1), (third, 3)] {
            let error = file_of(text.as_bytes()).unwrap_err();
            assert!(
                matches!(error, CastError::OtherVersion { version: told, .. } if told == version),
                "{error}"
            );
        }
        for text in ["", "\n", "hello", "\u{0}\u{1}", "[]", "{\"version\": 2, \"wid", "{\"width\": 80}"] {
            let error = file_of(text.as_bytes()).unwrap_err();
            assert!(error.to_string().contains("its first line is no JSON object with a version"), "{error}");
        }
        let error = file_of(b"{\"version\": 2}\n").unwrap_err();
        assert!(error.to_string().contains("does not say the width and height"), "{error}");
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(played(&[folder.path().to_owned()]).unwrap_err(), CastError::File { .. }));
    }

    #[test]
    fn parts_follow_one_another_without_their_pictures() {
        let folder = tempfile::tempdir().unwrap();
        let part = |n: u32| {
            let picture = if n > 1 { format!("[0.0, \"o\", \"picture {n}\"]\n") } else { String::new() };
            let text = format!("{HEADER}\n{picture}[0.5, \"o\", \"a{n}\"]\n[1.0, \"o\", \"b{n}\"]\n");
            write(folder.path(), &format!("recording-{n:06}.cast"), text.as_bytes())
        };
        let parts: Vec<PathBuf> = (1..=4).map(part).collect();
        let shown = |paths: &[PathBuf]| -> Vec<String> {
            played(paths).unwrap().into_iter().map(|(at, text)| format!("{at} {text}")).collect()
        };
        assert_eq!(shown(&parts[..2]), ["500 a1", "1000 b1", "1500 a2", "2000 b2"]);
        assert_eq!(shown(&parts[1..2]), ["0 picture 2", "500 a2", "1000 b2"]);
        // The third is missing: only its picture could say what the screen was.
        std::fs::remove_file(&parts[2]).unwrap();
        let with_gap = [parts[1].clone(), parts[3].clone()];
        assert_eq!(
            shown(&with_gap),
            ["0 picture 2", "500 a2", "1000 b2", "1000 picture 4", "1500 a4", "2000 b4"]
        );
        // Removed between being named and being opened.
        std::fs::remove_file(&parts[0]).unwrap();
        assert_eq!(shown(&parts[..2]), ["0 picture 2", "500 a2", "1000 b2"]);
        assert!(matches!(played(&parts[..1]).unwrap_err(), CastError::File { .. }));
    }
}
